//! IAM's XML: one page of `ListRoles`, trust policies included.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct ListRolesResponse {
    #[serde(rename = "ListRolesResult")]
    pub result: ListRolesResult,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ListRolesResult {
    #[serde(default)]
    pub roles: Members,
    #[serde(default)]
    pub is_truncated: bool,
    pub marker: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Members {
    #[serde(default)]
    pub member: Vec<RoleAnswer>,
}

/// A role as `ListRoles` gives it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct RoleAnswer {
    pub role_name: String,
    pub role_id: String,
    pub arn: String,
    pub path: String,
    pub create_date: String,
    /// Percent-encoded JSON; some emulators send it as it is.
    pub assume_role_policy_document: String,
}

/// Reads one page; the error is for people.
pub fn list_roles(body: &[u8]) -> Result<ListRolesResult, String> {
    let text = std::str::from_utf8(body).map_err(|e| e.to_string())?;
    quick_xml::de::from_str::<ListRolesResponse>(text)
        .map(|r| r.result)
        .map_err(|e| e.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_roles() {
        let xml = r#"<?xml version="1.0"?><ListRolesResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">
          <ListRolesResult><IsTruncated>true</IsTruncated><Roles><member><Path>/team/</Path><RoleName>a&amp;b</RoleName>
          <RoleId>AROA1</RoleId><Arn>arn:aws:iam::111122223333:role/team/a</Arn><CreateDate>2013-04-18T05:01:58Z</CreateDate>
          <AssumeRolePolicyDocument>%7B%7D</AssumeRolePolicyDocument><MaxSessionDuration>3600</MaxSessionDuration></member>
          <member><RoleName>c</RoleName></member></Roles><Marker>m+/=</Marker></ListRolesResult>
          <ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></ListRolesResponse>"#;
        let page = list_roles(xml.as_bytes()).unwrap();
        assert!(page.is_truncated && page.marker.as_deref() == Some("m+/="));
        assert_eq!(page.roles.member.len(), 2);
        assert_eq!(page.roles.member[0].role_name, "a&b");
        let none = "<ListRolesResponse><ListRolesResult><Roles/><IsTruncated>false</IsTruncated></ListRolesResult></ListRolesResponse>";
        assert!(list_roles(none.as_bytes()).unwrap().roles.member.is_empty());
        for odd in ["", "<html>", "{}", "<ListRolesResponse/>"] {
            assert!(list_roles(odd.as_bytes()).is_err(), "{odd}");
        }
    }
}
