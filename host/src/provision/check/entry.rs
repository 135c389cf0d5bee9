//! Access entries and associations.

use super::super::facts::{Entry, Mapped, Mode};
use super::super::wish::{Access, Iam};
use super::{Checked, Effect, Fits, Step, World, bad, listed, moved, shown, tags};
use crate::upstream::operation::write::{NewEntry, Scope, Write};

impl World<'_> {
    pub(super) fn create_entry(&mut self, new: NewEntry) -> Fits<Checked> {
        let iam = self.iam(&new.principal)?;
        if !self.granting() {
            return bad("an access entry is created, and the wish is to revoke");
        }
        if !self.facts.mode.entries() {
            return bad("an access entry is created, and this cluster does not look at any");
        }
        if self.facts.entry.is_some() {
            return moved("the principal has an access entry already");
        }
        if new.tags != tags() {
            return bad("an access entry whose tags are not the one that says it is ours");
        }
        let (groups, username) = self.entry_names(&iam)?;
        let mut wanted = groups.clone();
        let mut given = new.groups.clone();
        wanted.sort();
        given.sort();
        if wanted != given || new.username != username {
            let why = "an access entry with other names than the principal's own group and what aws-auth gives it";
            // A line that changed in between looks the same.
            return match self.facts.lines_of(&iam).is_empty() && self.facts.mode == Mode::Api {
                true => bad(why),
                false => moved(why),
            };
        }
        let entry = Entry {
            kind: "STANDARD".to_owned(),
            principal: iam.arn.clone(),
            groups: new.groups.clone(),
            username: username.clone(),
            tags: tags(),
        };
        let new = Mapped {
            principal: iam.arn.clone(),
            username: username.clone().unwrap_or_else(|| iam.default_username()),
            groups: new.groups.clone(),
        };
        self.gains_nothing(&iam, &new)?;
        self.facts.entry = Some(entry.clone());
        self.facts.associations.clear();
        Ok(Checked {
            object: format!("access entry {}", iam.arn),
            before: String::new(),
            after: names(&entry),
            write: Write::CreateEntry(NewEntry {
                principal: iam.arn.clone(),
                groups: entry.groups.clone(),
                username,
                tags: tags(),
            }),
            effect: Effect::Entry {
                principal: iam.arn,
                before: None,
                after: Some(entry),
            },
            step: Step::Identity,
        })
    }

    /// The names of a new entry: it replaces a line of `aws-auth` as a whole,
    /// so it has to give what that gave.
    fn entry_names(&self, iam: &Iam) -> Fits<(Vec<String>, Option<String>)> {
        let mut groups = vec![iam.own_group()];
        let line = self.facts.line_of(iam);
        let Some(line) = line.filter(|_| self.facts.mode == Mode::Both) else {
            return Ok((groups, None));
        };
        if matches!(self.wish.access, Access::Role { .. }) {
            return moved(
                "a new access entry would replace the principal's line in aws-auth, which can be used as it is",
            );
        }
        for group in &line.groups {
            if group.starts_with("system:") || group.contains("{{") {
                return moved(format!(
                    "a new access entry would take the group {group} away that aws-auth gives the principal"
                ));
            }
            if !groups.contains(group) {
                groups.push(group.clone());
            }
        }
        let refused = ["system:", "eks:", "aws:", "amazon:", "iam:"];
        if refused.iter().any(|p| line.username.starts_with(p)) {
            return moved(
                "a new access entry cannot have the user name that aws-auth gives the principal",
            );
        }
        let username = Some(line.username.clone()).filter(|name| !name.is_empty());
        Ok((groups, username))
    }

    pub(super) fn update_entry(&mut self, principal: &str, groups: Vec<String>) -> Fits<Checked> {
        let iam = self.iam(principal)?;
        if !self.granting() {
            return bad("the groups of an access entry change, and the wish is to revoke");
        }
        if matches!(self.wish.access, Access::Policy { .. }) {
            return bad(
                "the groups of an access entry change, and the wish is for an access policy",
            );
        }
        let Some(before) = self.facts.entry.clone() else {
            return moved("the principal has no access entry");
        };
        let own = iam.own_group();
        match groups.split_last() {
            Some((last, _)) if *last == own => {}
            _ => return bad("an access entry gets another group than the principal's own"),
        }
        let mut wanted = before.groups.clone();
        if wanted.contains(&own) {
            return moved("the access entry has the principal's own group already");
        }
        wanted.push(own);
        if groups != wanted {
            return moved(
                "the groups of the access entry are not what they are, and the principal's own",
            );
        }
        let after = Entry {
            groups: wanted.clone(),
            ..before.clone()
        };
        let new = Mapped {
            principal: iam.arn.clone(),
            username: String::new(),
            groups: wanted.clone(),
        };
        self.gains_nothing(&iam, &new)?;
        self.facts.entry = Some(after.clone());
        Ok(Checked {
            object: format!("access entry {}", iam.arn),
            before: names(&before),
            after: names(&after),
            write: Write::UpdateEntry {
                principal: iam.arn.clone(),
                groups: wanted,
            },
            effect: Effect::Entry {
                principal: iam.arn,
                before: Some(before),
                after: Some(after),
            },
            step: Step::Identity,
        })
    }

    pub(super) fn delete_entry(&mut self, principal: &str) -> Fits<Checked> {
        let iam = self.iam(principal)?;
        if self.granting() {
            return bad("an access entry is deleted, and the wish is to grant");
        }
        let Some(before) = self.facts.entry.clone() else {
            return moved("the principal has no access entry");
        };
        if !before.is_ours() {
            return moved("an access entry is deleted that is not ours");
        }
        let own = iam.own_group();
        if before.groups.iter().any(|group| *group != own) {
            return moved(
                "an access entry is deleted that has other groups than the principal's own",
            );
        }
        if !self.facts.associations.is_empty() {
            return moved("an access entry is deleted that has access policies");
        }
        if !self.facts.lines_of(&iam).is_empty() {
            return moved(
                "an access entry is deleted, and the principal's line in aws-auth would count again",
            );
        }
        let given = [Mapped {
            principal: iam.arn.clone(),
            username: before
                .username
                .clone()
                .unwrap_or_else(|| iam.default_username()),
            groups: before.groups.clone(),
        }];
        if let Some(place) = self.is_bound(&given) {
            return moved(format!("an access entry is deleted that {place} needs"));
        }
        self.facts.entry = None;
        Ok(Checked {
            object: format!("access entry {}", iam.arn),
            before: names(&before),
            after: String::new(),
            write: Write::DeleteEntry {
                principal: iam.arn.clone(),
            },
            effect: Effect::Entry {
                principal: iam.arn,
                before: Some(before),
                after: None,
            },
            step: Step::Cleanup,
        })
    }

    /// The policy of the wish, its namespace, and the scope as it is.
    fn policy(&self, named: &str) -> Fits<(String, Option<String>, Option<Scope>)> {
        let Access::Policy { arn, namespace } = &self.wish.access else {
            return bad("an access policy, and the wish is for a role");
        };
        if arn != named {
            return bad(format!(
                "it is about the access policy {}, and the wish is for {arn}",
                shown(named)
            ));
        }
        let mut scopes = self.facts.associations.iter();
        let scope = scopes.find(|(policy, _)| policy == arn);
        Ok((
            arn.clone(),
            namespace.clone(),
            scope.map(|(_, scope)| scope.clone()),
        ))
    }

    pub(super) fn associate(
        &mut self,
        principal: &str,
        policy: &str,
        scope: Scope,
    ) -> Fits<Checked> {
        let iam = self.iam(principal)?;
        let (policy, namespace, before) = self.policy(policy)?;
        if self.facts.entry.is_none() {
            return moved("an access policy for a principal without an access entry");
        }
        // What the wish can lead to at all, whatever is there now.
        match (self.granting(), &namespace, &scope) {
            (true, None, Scope::Cluster) => {}
            (true, Some(one), Scope::Namespaces(all)) if all.contains(one) => {}
            (false, Some(one), Scope::Namespaces(all)) if !all.contains(one) => {}
            _ => return bad("an access policy with another scope than the wish leads to"),
        }
        let wanted = match (self.granting(), namespace, &before) {
            (true, None, None) => Scope::Cluster,
            (true, Some(one), None) => Scope::Namespaces(vec![one]),
            (true, Some(one), Some(Scope::Namespaces(all))) if !all.contains(&one) => {
                Scope::Namespaces(all.iter().cloned().chain([one]).collect())
            }
            (false, Some(one), Some(Scope::Namespaces(all))) if all.contains(&one) => {
                Scope::Namespaces(all.iter().filter(|name| **name != one).cloned().collect())
            }
            _ => return moved("an access policy whose scope would be replaced"),
        };
        if scope != wanted || wanted == Scope::Namespaces(Vec::new()) {
            return moved(
                "the scope of an access policy is not what it is with the one difference",
            );
        }
        Ok(self.associated(&iam, policy, before, Some(wanted)))
    }

    pub(super) fn disassociate(&mut self, principal: &str, policy: &str) -> Fits<Checked> {
        let iam = self.iam(principal)?;
        let (policy, namespace, before) = self.policy(policy)?;
        if self.granting() {
            return bad("an access policy is taken away, and the wish is to grant");
        }
        match (&before, namespace) {
            (Some(Scope::Cluster), None) => {}
            (Some(Scope::Namespaces(all)), Some(one)) if all.iter().all(|name| *name == one) => {}
            _ => {
                return moved(
                    "an access policy is taken away whose scope holds more than the wish, or less",
                );
            }
        }
        Ok(self.associated(&iam, policy, before, None))
    }

    fn associated(
        &mut self,
        iam: &Iam,
        policy: String,
        before: Option<Scope>,
        after: Option<Scope>,
    ) -> Checked {
        let associations = &mut self.facts.associations;
        associations.retain(|(known, _)| *known != policy);
        associations.extend(after.clone().map(|scope| (policy.clone(), scope)));
        let name = policy
            .rsplit_once('/')
            .map_or(policy.as_str(), |(_, name)| name);
        Checked {
            object: format!("{name} on access entry {}", iam.arn),
            before: before.as_ref().map(words).unwrap_or_default(),
            after: after.as_ref().map(words).unwrap_or_default(),
            write: match &after {
                Some(scope) => Write::Associate {
                    principal: iam.arn.clone(),
                    policy: policy.clone(),
                    scope: scope.clone(),
                },
                None => Write::Disassociate {
                    principal: iam.arn.clone(),
                    policy: policy.clone(),
                },
            },
            effect: Effect::Association {
                principal: iam.arn.clone(),
                policy,
                before,
                after,
            },
            step: Step::Access,
        }
    }
}

/// A scope for people.
fn words(scope: &Scope) -> String {
    match scope {
        Scope::Cluster => "the whole cluster".to_owned(),
        Scope::Namespaces(all) => listed(all),
    }
}

/// An entry for people.
fn names(entry: &Entry) -> String {
    let username = entry.username.as_deref();
    let username = username.map(|name| format!("username {name}, "));
    format!(
        "{}groups {}",
        username.unwrap_or_default(),
        listed(&entry.groups)
    )
}
