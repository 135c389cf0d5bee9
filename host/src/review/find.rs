//! Principals by what people call them.

use super::model::{Id, Model, Sort};

/// Why a name is no principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Nobody is called so.
    #[error("no principal is called {name}{}", also(.like))]
    Nobody {
        /// The name.
        name: String,
        /// Names that are much like it.
        like: Vec<String>,
    },
    /// Several are called so.
    #[error("{name} may be {}: give one of these", .ids.join(" or "))]
    Several {
        /// The name.
        name: String,
        /// As `kind:id`.
        ids: Vec<String>,
    },
}

fn also(like: &[String]) -> String {
    if like.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", like.join(" or "))
    }
}

/// Finds a principal by id, `kind:id`, login, display name or the last part of
/// its ARN; letter case counts only where it decides.
///
/// # Errors
/// Nobody or several are called so.
pub fn principal(model: &Model, name: &str) -> Result<Id, FindError> {
    let all = || {
        (0..model.nodes.len())
            .filter_map(|number| Id::try_from(number).ok())
            .filter(|id| is_principal(model, *id))
    };
    let full = |id: Id| format!("{}:{}", model.kind(id), model.id(id));
    let exact: Vec<Id> = all()
        .filter(|id| full(*id) == name || model.id(*id) == name)
        .collect();
    let found = if exact.is_empty() {
        let same = |text: &str| text.eq_ignore_ascii_case(name);
        let called = |id: &Id| names(model, *id).any(|text| same(&text));
        let loose: Vec<Id> = all().filter(called).collect();
        let cased = |id: &Id| names(model, *id).any(|text| text == name);
        let strict: Vec<Id> = loose.iter().copied().filter(cased).collect();
        if strict.is_empty() { loose } else { strict }
    } else {
        exact
    };
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(FindError::Nobody {
            name: name.to_owned(),
            like: like(model, name, all()),
        }),
        several => Err(FindError::Several {
            name: name.to_owned(),
            ids: several
                .iter()
                .take(5)
                .map(|id| {
                    let place = model
                        .realm(*id)
                        .map_or_else(String::new, |realm| format!(" of {}", realm.name));
                    format!("{}{place}", full(*id))
                })
                .collect(),
        }),
    }
}

/// Whether a node can hold something, by what it is or because it does.
pub(super) fn is_principal(model: &Model, id: Id) -> bool {
    !matches!(model.node(id).sort, Sort::Role | Sort::Other) || model.held(id).next().is_some()
}

fn names(model: &Model, id: Id) -> impl Iterator<Item = String> + '_ {
    let logins = model.facts(id).logins.iter().cloned();
    [model.name(id).to_owned(), model.short(id)]
        .into_iter()
        .chain(logins)
}

/// At most three names that differ by few letters.
fn like(model: &Model, name: &str, all: impl Iterator<Item = Id>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let most = (wanted.chars().count() / 3).clamp(1, 4);
    let mut near: Vec<(usize, String)> = all
        .filter_map(|id| {
            let text = model.short(id);
            let far = distance(&wanted, &text.to_lowercase(), most)?;
            Some((far, text))
        })
        .collect();
    near.sort();
    near.dedup();
    near.into_iter().take(3).map(|(_, text)| text).collect()
}

/// Letters to change between two words, if they are at most `most`.
fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > most || a.len() > 200 {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for ((y, diagonal), above) in b.iter().zip(&row).zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != y))
                .min(above + 1)
                .min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().filter(|far| *far <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_differ_by_few_letters_are_near() {
        for (a, b, far) in [
            ("alice", "alcie", Some(2)),
            ("alice", "alice", Some(0)),
            ("", "ab", Some(2)),
            ("alice", "bob", None),
        ] {
            assert_eq!(distance(a, b, 2), far, "{a} {b}");
        }
    }
}
