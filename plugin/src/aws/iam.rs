//! IAM's XML: pages of `ListRoles` and `GetAccountAuthorizationDetails`, trust
//! policies included.

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
    /// From here on `GetAccountAuthorizationDetails` only.
    pub role_last_used: Option<LastUsed>,
    pub tags: List<Tag>,
    pub role_policy_list: List<InlinePolicy>,
    pub attached_managed_policies: List<AttachedPolicy>,
    pub permissions_boundary: Option<Boundary>,
}

/// When a role was used last, as far back as IAM remembers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct LastUsed {
    pub last_used_date: Option<String>,
}

/// A policy of its holder alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct InlinePolicy {
    pub policy_name: String,
    /// Percent-encoded JSON.
    pub policy_document: String,
}

/// A policy that the holder shares.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct AttachedPolicy {
    pub policy_arn: String,
}

/// The policy beyond which nothing is allowed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct Boundary {
    pub permissions_boundary_arn: String,
}

/// A managed policy with its versions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct ManagedPolicy {
    pub policy_name: String,
    pub arn: String,
    pub default_version_id: String,
    pub policy_version_list: List<PolicyVersion>,
}

/// One version of a managed policy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct PolicyVersion {
    pub document: String,
    pub version_id: String,
    pub is_default_version: bool,
}

#[derive(Debug, Deserialize)]
#[allow(missing_docs)]
pub struct DetailsResponse {
    #[serde(rename = "GetAccountAuthorizationDetailsResult")]
    pub result: Details,
}

/// Users, groups and roles of one page.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct Details {
    #[serde(default)]
    pub user_detail_list: List<UserAnswer>,
    #[serde(default)]
    pub group_detail_list: List<GroupAnswer>,
    #[serde(default)]
    pub role_detail_list: Members,
    #[serde(default)]
    pub policies: List<ManagedPolicy>,
    #[serde(default)]
    pub is_truncated: bool,
    pub marker: Option<String>,
}

/// A list as IAM's XML has it.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs)]
pub struct List<T> {
    #[serde(default = "Vec::new")]
    pub member: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List { member: Vec::new() }
    }
}

/// A user and the names of its groups.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct UserAnswer {
    pub user_name: String,
    pub user_id: String,
    pub arn: String,
    pub path: String,
    pub create_date: String,
    pub group_list: List<String>,
    pub tags: List<Tag>,
    pub user_policy_list: List<InlinePolicy>,
    pub attached_managed_policies: List<AttachedPolicy>,
    pub permissions_boundary: Option<Boundary>,
}

/// A tag.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// A group.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs)]
pub struct GroupAnswer {
    pub group_name: String,
    pub group_id: String,
    pub arn: String,
    pub path: String,
    pub group_policy_list: List<InlinePolicy>,
    pub attached_managed_policies: List<AttachedPolicy>,
}

/// Reads one page of users, groups and roles; the error is for people.
pub fn details(body: &[u8]) -> Result<Details, String> {
    let text = std::str::from_utf8(body).map_err(|e| e.to_string())?;
    quick_xml::de::from_str::<DetailsResponse>(text)
        .map(|r| r.result)
        .map_err(|e| e.to_string())
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

    #[test]
    fn a_page_of_everything() {
        let xml = r#"<GetAccountAuthorizationDetailsResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">
          <GetAccountAuthorizationDetailsResult><IsTruncated>false</IsTruncated>
          <UserDetailList><member><UserName>ada</UserName><Arn>arn:aws:iam::1:user/ada</Arn><Path>/</Path><UserId>AIDA1</UserId>
            <GroupList><member>ops</member><member>dev</member></GroupList><Tags><member><Key>team</Key><Value>a</Value></member></Tags>
            <UserPolicyList/><AttachedManagedPolicies/></member><member><UserName>bob</UserName><GroupList/></member></UserDetailList>
          <GroupDetailList><member><GroupName>ops</GroupName><Arn>arn:aws:iam::1:group/ops</Arn></member></GroupDetailList>
          <RoleDetailList><member><RoleName>r</RoleName><AssumeRolePolicyDocument>%7B%7D</AssumeRolePolicyDocument>
            <InstanceProfileList/><RolePolicyList><member><PolicyName>x</PolicyName><PolicyDocument>%7B%7D</PolicyDocument></member></RolePolicyList>
            <AttachedManagedPolicies><member><PolicyName>P</PolicyName><PolicyArn>arn:aws:iam::1:policy/P</PolicyArn></member></AttachedManagedPolicies>
            <PermissionsBoundary><PermissionsBoundaryType>Policy</PermissionsBoundaryType><PermissionsBoundaryArn>arn:aws:iam::1:policy/B</PermissionsBoundaryArn></PermissionsBoundary>
            <Tags/><RoleLastUsed><LastUsedDate>2025-01-01T00:00:00Z</LastUsedDate><Region>eu-west-1</Region></RoleLastUsed></member>
            <member><RoleName>s</RoleName><RoleLastUsed/></member></RoleDetailList>
          <Policies><member><PolicyName>P</PolicyName><Arn>arn:aws:iam::1:policy/P</Arn><DefaultVersionId>v2</DefaultVersionId><PolicyVersionList>
            <member><Document>%7B%7D</Document><VersionId>v2</VersionId><IsDefaultVersion>true</IsDefaultVersion></member>
            <member><Document>%7B%7D</Document><VersionId>v1</VersionId><IsDefaultVersion>false</IsDefaultVersion></member></PolicyVersionList></member></Policies>
          </GetAccountAuthorizationDetailsResult></GetAccountAuthorizationDetailsResponse>"#;
        let page = details(xml.as_bytes()).unwrap();
        assert_eq!(
            page.user_detail_list.member[0].group_list.member,
            ["ops", "dev"]
        );
        assert_eq!(page.user_detail_list.member[0].tags.member[0].value, "a");
        assert!(page.user_detail_list.member[1].group_list.member.is_empty());
        assert_eq!(page.group_detail_list.member[0].group_name, "ops");
        let roles = &page.role_detail_list.member;
        assert_eq!(roles[0].role_name, "r");
        assert_eq!(roles[0].role_policy_list.member[0].policy_name, "x");
        let used = |at: usize| roles[at].role_last_used.as_ref().unwrap();
        assert_eq!(
            used(0).last_used_date.as_deref(),
            Some("2025-01-01T00:00:00Z")
        );
        assert_eq!(used(1).last_used_date, None);
        let boundary = roles[0].permissions_boundary.as_ref().unwrap();
        assert!(boundary.permissions_boundary_arn.ends_with("/B"));
        assert!(roles[1].permissions_boundary.is_none());
        let versions = &page.policies.member[0].policy_version_list.member;
        assert!(versions[0].is_default_version && versions[1].version_id == "v1");
        assert!(details(b"<html>").is_err());
    }
}
