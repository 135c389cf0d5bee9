#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Collected {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    Collected {
        status: StatusCode::from_u16(status).unwrap(),
        headers: map,
        body: body.as_bytes().to_vec(),
        hold: Budget::new(1).hold(),
    }
}

#[test]
fn errors_of_eks_are_read_from_header_and_body() {
    let body = r#"{"clusterName":null,"message":"No cluster found for name: x."}"#;
    let error = AwsError::of(&answer(
        404,
        &[
            (
                "x-amzn-errortype",
                "ResourceNotFoundException:http://internal/",
            ),
            ("x-amzn-requestid", "id-1"),
        ],
        body,
    ));
    assert_eq!(error.code, "ResourceNotFoundException");
    assert_eq!(error.message, "No cluster found for name: x.");
    assert_eq!(
        String::from_utf8(error.rebuilt().0).unwrap(),
        r#"{"code":"ResourceNotFoundException","message":"No cluster found for name: x.","request-id":"id-1"}"#
    );
    let error = AwsError::of(&answer(
        429,
        &[],
        r#"{"__type":"com.x#ThrottlingException","Message":"Rate"}"#,
    ));
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("ThrottlingException", "Rate")
    );
}

#[test]
fn errors_of_iam_are_read_from_xml() {
    let body = r#"<?xml version="1.0"?><ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error>
        <Type>Sender</Type><Code>AccessDenied</Code><Message>User: a &amp; b is not &#x3c;allowed&gt;</Message></Error>
        <RequestId>id-2</RequestId></ErrorResponse>"#;
    let error = AwsError::of(&answer(403, &[], body));
    assert_eq!(
        error,
        AwsError {
            code: "AccessDenied".to_owned(),
            message: "User: a & b is not <allowed>".to_owned(),
            request_id: "id-2".to_owned(),
        }
    );
}

#[test]
fn an_error_page_of_something_in_between_is_an_error_by_its_status() {
    for body in [
        "",
        "<html><body>Bad gateway</body></html>",
        "{",
        "upstream connect error",
        "<Code>",
    ] {
        let error = AwsError::of(&answer(502, &[], body));
        assert_eq!(error.code, "Http502", "{body}");
        assert!(!error.message.is_empty());
    }
    let status: Value =
        serde_json::from_slice(&kubernetes_error(StatusCode::BAD_GATEWAY, b"<html>")).unwrap();
    assert_eq!(
        (status["kind"].as_str(), status["code"].as_u64()),
        (Some("Status"), Some(502))
    );
}

#[test]
fn a_refused_signature_gets_our_words() {
    for code in [
        "SignatureDoesNotMatch",
        "InvalidSignatureException",
        "RequestExpired",
    ] {
        let body = format!(r#"{{"__type":"{code}","message":"x-amz-security-token:SECRET"}}"#);
        let error = AwsError::of(&answer(403, &[], &body));
        assert!(
            !error.message.contains("SECRET") && error.code == code,
            "{error:?}"
        );
    }
}

#[test]
fn copies_of_whole_objects_are_dropped_from_objects_and_items() {
    let metadata = json!({
        "name": "x", "managedFields": [{"manager": "kubectl"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"data\":\"SECRET\"}", "kept": "yes"},
    });
    for body in [
        json!({"metadata": metadata}),
        json!({"metadata": {}, "items": [{"metadata": metadata}]}),
    ] {
        let cut = String::from_utf8(kubernetes(body.to_string().as_bytes(), View::Full).unwrap())
            .unwrap();
        assert!(
            !cut.contains("SECRET") && !cut.contains("managedFields") && cut.contains("kept"),
            "{cut}"
        );
    }
}

#[test]
fn config_maps_are_names_even_if_the_server_sends_them_whole() {
    let body = json!({
        "kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "7", "continue": "next", "selfLink": "x"},
        "items": [{"metadata": {"name": "a", "namespace": "b", "uid": "u", "creationTimestamp": "t", "labels": {"l": "m"},
            "annotations": {"x": "SECRET"}, "ownerReferences": []}, "data": {"password": "SECRET"}, "binaryData": {}}],
    });
    let cut: Value =
        serde_json::from_slice(&kubernetes(body.to_string().as_bytes(), View::Names).unwrap())
            .unwrap();
    assert_eq!(
        cut,
        json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": "7", "continue": "next"},
            "items": [{"metadata": {"name": "a", "namespace": "b", "uid": "u", "creationTimestamp": "t", "labels": {"l": "m"}}}],
        })
    );
    let empty = br#"{"metadata":{"resourceVersion":"1"},"items":null}"#;
    assert!(kubernetes(empty, View::Names).is_ok());
    for wrong in [&b"[]"[..], b"{}", b"null", b"<html>", b""] {
        assert!(kubernetes(wrong, View::Names).is_err());
    }
}

#[test]
fn a_plugin_sees_few_headers() {
    let given = answer(
        200,
        &[
            ("content-type", "application/json"),
            ("set-cookie", "a=b"),
            ("x-amzn-requestid", "id"),
            ("www-authenticate", "x"),
            ("location", "http://x"),
        ],
        "{}",
    );
    let clean = given.clean(None);
    let names: Vec<_> = clean.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-amzn-requestid", "content-type"]);
}

#[test]
fn short_strings_are_not_taken_for_secrets() {
    assert!(!holds(b"abc", &[Secret::new("abc"), Secret::new("")]));
    assert!(holds(
        b"..0123456789abcdef..",
        &[Secret::new("0123456789abcdef")]
    ));
}
