//! Bindings: ours are made and unmade, of others only the principal's own
//! subjects are taken away.

use serde_json::{Value, json};

use super::super::facts::{Bound, subjects};
use super::super::wish::Who;
use super::names::{self, Subject};
use super::{Checked, Effect, Fits, Step, World, bad, exactly, moved, shown};
use crate::upstream::operation::write::{Op, Place, Write};

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";
/// Whose an object is.
const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "baton-host");
/// For whom it is.
const ANNOTATION: &str = "baton-host/principal";

impl World<'_> {
    pub(super) fn create_binding(&mut self, place: Place, object: Value) -> Fits<Checked> {
        if !self.granting() {
            return bad("a binding is made, and the wish is to revoke");
        }
        let (kind, name, namespace) = self.role()?;
        if self.wish.place().as_ref() != Some(&place) {
            return bad(format!(
                "{} is not the binding of this wish",
                shown(&place.to_string())
            ));
        }
        let subject = match object.get("subjects").and_then(Value::as_array) {
            Some(list) if list.len() == 1 => list.first().cloned().unwrap_or_default(),
            _ => return bad("a binding with other than one subject"),
        };
        let subject = self.subject(&subject)?;
        let mut metadata = json!({
            "name": place.name,
            "labels": {LABEL.0: LABEL.1},
            "annotations": {ANNOTATION: self.wish.principal.1},
        });
        if let (Some(namespace), Some(metadata)) = (&namespace, metadata.as_object_mut()) {
            metadata.insert("namespace".to_owned(), namespace.as_str().into());
        }
        let wanted = json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": place.kind(),
            "metadata": metadata,
            "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name},
            "subjects": [subject],
        });
        if object != wanted {
            return bad(format!(
                "{place} is not exactly our binding of {kind} {name} to the principal"
            ));
        }
        if let Some(Some(_)) = self.facts.bindings.get(&place) {
            return moved(format!("{place} is there already"));
        }
        let subjects = vec![subject];
        self.facts
            .bindings
            .insert(place.clone(), Some(wanted.clone()));
        self.rebind(&place, &wanted, &subjects);
        Ok(Checked {
            object: place.to_string(),
            before: String::new(),
            after: Value::from(subjects).to_string(),
            write: Write::CreateBinding {
                place: place.clone(),
                object: wanted.clone(),
            },
            effect: Effect::Binding {
                place,
                before: None,
                after: Some(wanted),
            },
            step: Step::Access,
        })
    }

    /// The one subject that a binding of ours has, as the host writes it.
    fn subject(&self, given: &Value) -> Fits<Value> {
        let group = |kind: &str, name: &str| json!({"apiGroup": GROUP, "kind": kind, "name": name});
        let wanted = match &self.wish.who {
            Who::Account { namespace, name } => {
                json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
            }
            Who::Iam(iam) => {
                let own = group("Group", &iam.own_group());
                let name = given.get("name").and_then(Value::as_str);
                match name.filter(|name| *given == group("User", name)) {
                    Some(name) if names::bindable(iam, &self.facts, name) => group("User", name),
                    Some(name) => {
                        return moved(format!(
                            "a binding for User {}, which is not a user name of the principal's alone",
                            shown(name)
                        ));
                    }
                    None => own,
                }
            }
        };
        match *given == wanted {
            true => Ok(wanted),
            false => bad("a binding for somebody else than the principal"),
        }
    }

    /// The binding as the host read it: the one that was planned for.
    fn binding(&self, place: &Place) -> Fits<Value> {
        match self.facts.bindings.get(place) {
            Some(Some(binding)) => Ok(binding.clone()),
            _ => moved(format!("{} is not there", shown(&place.to_string()))),
        }
    }

    /// Whether a binding is for the role and the scope of the wish.
    fn of_wish(&self, place: &Place, binding: &Value) -> Fits {
        let (kind, name, namespace) = self.role()?;
        let role = json!({"apiGroup": GROUP, "kind": kind, "name": name});
        let same = exactly(binding.get("roleRef"), &role) && place.namespace == namespace;
        match same {
            true => Ok(()),
            false => bad(format!(
                "{} does not bind {kind} {name} where the wish is for",
                shown(&place.to_string())
            )),
        }
    }

    fn is_own(&self, place: &Place, subject: &Value) -> bool {
        Subject::of(subject, place.namespace.as_deref())
            .is_some_and(|subject| names::own(self.wish, &self.facts, &subject))
    }

    pub(super) fn delete_binding(
        &mut self,
        place: Place,
        uid: &str,
        version: &str,
    ) -> Fits<Checked> {
        self.role()?;
        let before = self.binding(&place)?;
        // First of all: what another version holds says nothing of the plan.
        let meta = |name: &str| {
            let value = before.pointer("/metadata").and_then(|meta| meta.get(name));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        if meta("uid") != uid || meta("resourceVersion") != version || uid.is_empty() {
            return moved(format!("{} has changed", shown(&place.to_string())));
        }
        let all = subjects(&before);
        let label = before
            .pointer("/metadata/labels")
            .and_then(|l| l.get(LABEL.0));
        let ours = self.wish.place().as_ref() == Some(&place)
            && label.and_then(Value::as_str) == Some(LABEL.1);
        if !ours && self.granting() {
            return bad(format!(
                "{} is deleted, and the wish is to grant",
                shown(&place.to_string())
            ));
        }
        self.of_wish(&place, &before)?;
        // Ours may have been made for a name that the principal no longer has.
        let alone = ours && all.len() <= 1;
        if !alone && (all.is_empty() || !all.iter().all(|subject| self.is_own(&place, subject))) {
            return bad(format!(
                "{} is deleted, and it binds others than the principal",
                shown(&place.to_string())
            ));
        }
        self.facts.bindings.insert(place.clone(), None);
        self.rebind(&place, &before, &[]);
        Ok(Checked {
            object: place.to_string(),
            before: Value::from(all).to_string(),
            after: String::new(),
            write: Write::DeleteBinding {
                place: place.clone(),
                uid: uid.to_owned(),
                version: version.to_owned(),
            },
            effect: Effect::Binding {
                place,
                before: Some(before),
                after: None,
            },
            step: Step::Access,
        })
    }

    pub(super) fn patch_binding(&mut self, place: Place, patch: Vec<Op>) -> Fits<Checked> {
        if self.granting() {
            return bad("somebody's binding changes, and the wish is to grant");
        }
        let before = self.binding(&place)?;
        let all = subjects(&before);
        let Some((Op::Test(path, version), steps)) = patch.split_first() else {
            return bad("a patch that does not begin with the binding's version");
        };
        if path != "/metadata/resourceVersion" || steps.is_empty() {
            return bad("a patch that does not begin with the binding's version");
        }
        if before.pointer("/metadata/resourceVersion") != Some(version) {
            return moved(format!("{} has changed", shown(&place.to_string())));
        }
        self.of_wish(&place, &before)?;
        let mut left = all.clone();
        let mut last = usize::MAX;
        for pair in steps.chunks(2) {
            let [Op::Test(tested, value), Op::Remove(removed)] = pair else {
                return bad("a patch that is more than subjects taken away");
            };
            let at = tested
                .strip_prefix("/subjects/")
                .filter(|_| tested == removed);
            let at = at.and_then(|digits| digits.parse::<usize>().ok());
            let Some(at) = at.filter(|at| *at < last && *tested == format!("/subjects/{at}"))
            else {
                return bad("a patch that is more than subjects taken away, the last first");
            };
            if !self.is_own(&place, value) {
                return bad(format!(
                    "{} loses a subject that is not the principal's alone",
                    shown(&place.to_string())
                ));
            }
            if all.get(at) != Some(value) {
                return moved(format!("{} has changed", shown(&place.to_string())));
            }
            left.remove(at);
            last = at;
        }
        if left.is_empty() {
            return bad("a patch that leaves a binding without subjects; it is deleted instead");
        }
        let mut after = before.clone();
        if let Some(after) = after.as_object_mut() {
            after.insert("subjects".to_owned(), left.clone().into());
        }
        self.facts
            .bindings
            .insert(place.clone(), Some(after.clone()));
        self.rebind(&place, &before, &left);
        Ok(Checked {
            object: place.to_string(),
            before: Value::from(all).to_string(),
            after: Value::from(left).to_string(),
            write: Write::PatchBinding {
                place: place.clone(),
                patch,
            },
            effect: Effect::Binding {
                place,
                before: Some(before),
                after: Some(after),
            },
            step: Step::Access,
        })
    }

    /// Counts in what a change does to the bindings that were listed.
    fn rebind(&mut self, place: &Place, binding: &Value, subjects: &[Value]) {
        if let Some(bound) = &mut self.facts.bound {
            bound.retain(|binding| binding.place != *place);
            bound.push(Bound {
                place: place.clone(),
                role: binding.get("roleRef").cloned().unwrap_or_default(),
                subjects: subjects.to_vec(),
            });
        }
    }
}
