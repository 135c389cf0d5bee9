//! Who came over from another file, to be looked up by id and by what is known
//! of them.

use std::path::Path;

use prost_types::value::Kind;
use rusqlite::{Connection, OptionalExtension, params};

use crate::c1z::annotations::find;
use crate::c1z::pb::resource_type::Trait;
use crate::c1z::{Error, pb};
use crate::people::scratch;

const TABLES: &str = "
create table principals (number integer primary key, kind text not null, id text not null, user integer not null,
    member integer not null, skips integer not null, unique (kind, id));
create index principals_by_id on principals (id);
create table wanted (kind text, id text, primary key (kind, id)) without rowid;
create table entitlements (id text primary key) without rowid;
-- Values are folded: case does not matter.
create table facts (key text, value text, user integer, number integer, primary key (key, value, user, number)) without rowid;
begin";

/// The ids of one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) kind: String,
    pub(super) id: String,
}

#[derive(Debug)]
pub(super) struct Principals {
    db: Connection,
}

impl Principals {
    pub(super) fn new(path: &Path) -> Result<Self, Error> {
        let db = scratch(path).map_err(error)?;
        db.execute_batch(TABLES).map_err(error)?;
        Ok(Self { db })
    }

    /// A filter lets this principal over.
    pub(super) fn want(&mut self, id: &pb::ResourceId) -> Result<(), Error> {
        self.run(
            "insert or ignore into wanted values (?1, ?2)",
            [&id.resource_type, &id.resource],
        )
    }

    pub(super) fn is_wanted(&self, id: &pb::ResourceId) -> Result<bool, Error> {
        self.exists(
            "select 1 from wanted where kind = ?1 and id = ?2",
            [&id.resource_type, &id.resource],
        )
    }

    pub(super) fn has_kind(&self, kind: &str) -> Result<bool, Error> {
        self.exists("select 1 from wanted where kind = ?1 limit 1", [kind])
    }

    /// Somebody came over. `facts`: grants ask for what is known of people.
    pub(super) fn add(
        &mut self,
        id: &pb::ResourceId,
        resource: &pb::Resource,
        skips: bool,
        facts: bool,
    ) -> Result<(), Error> {
        let user: Option<pb::UserTrait> = find(&resource.annotations);
        let group: Option<pb::GroupTrait> = find(&resource.annotations);
        self.run(
            "insert or ignore into principals (kind, id, user, member, skips) values (?1, ?2, ?3, ?4, ?5)",
            params![
                id.resource_type,
                id.resource,
                user.is_some(),
                group.is_some(),
                skips
            ],
        )?;
        if !facts {
            return Ok(());
        }
        let number = self.db.last_insert_rowid();
        if let Some(user) = user {
            for email in &user.emails {
                self.fact("email", &email.address, true, number)?;
            }
            self.profile(user.profile.as_ref(), true, number)?;
        }
        if let Some(group) = group {
            self.profile(group.profile.as_ref(), false, number)?;
        }
        Ok(())
    }

    fn profile(
        &mut self,
        profile: Option<&prost_types::Struct>,
        user: bool,
        number: i64,
    ) -> Result<(), Error> {
        for (key, value) in profile.into_iter().flat_map(|profile| &profile.fields) {
            if let Some(Kind::StringValue(value)) = &value.kind {
                self.fact(key, value, user, number)?;
            }
        }
        Ok(())
    }

    fn fact(&mut self, key: &str, value: &str, user: bool, number: i64) -> Result<(), Error> {
        self.run(
            "insert or ignore into facts values (?1, ?2, ?3, ?4)",
            params![key, fold(value), user, number],
        )
    }

    /// Whether something can be held on a resource that came over.
    pub(super) fn holds(&self, id: &pb::ResourceId) -> Result<bool, Error> {
        self.exists(
            "select 1 from principals where kind = ?1 and id = ?2 and not skips",
            [&id.resource_type, &id.resource],
        )
    }

    pub(super) fn add_entitlement(&mut self, id: &str) -> Result<(), Error> {
        self.run("insert or ignore into entitlements values (?1)", [id])
    }

    pub(super) fn has_entitlement(&self, id: &str) -> Result<bool, Error> {
        self.exists("select 1 from entitlements where id = ?1", [id])
    }

    /// Everybody with a trait.
    pub(super) fn all(&self, held: Trait) -> Result<Vec<Id>, Error> {
        let column = match held {
            Trait::User => "user",
            Trait::Group => "member",
            _ => return Ok(Vec::new()),
        };
        self.ids(
            &format!("select kind, id from principals where {column} order by number"),
            [],
        )
    }

    /// The one with this id, of this type rather than another.
    pub(super) fn by_id(&self, id: &str, kind: &str) -> Result<Option<Id>, Error> {
        let found = self.ids(
            "select kind, id from principals where id = ?1 order by kind = ?2 desc, number desc limit 1",
            [id, kind],
        )?;
        Ok(found.into_iter().next())
    }

    /// Those of whom this is known.
    pub(super) fn by_fact(&self, held: Trait, key: &str, value: &str) -> Result<Vec<Id>, Error> {
        let user = match held {
            Trait::User => true,
            Trait::Group => false,
            _ => return Ok(Vec::new()),
        };
        self.ids(
            "select p.kind, p.id from facts f join principals p on p.number = f.number
             where f.key = ?1 and f.value = ?2 and f.user = ?3 order by p.number",
            params![key, fold(value), user],
        )
    }

    fn ids(&self, query: &str, values: impl rusqlite::Params) -> Result<Vec<Id>, Error> {
        self.db
            .prepare_cached(query)
            .and_then(|mut select| {
                select
                    .query_map(values, |row| {
                        Ok(Id {
                            kind: row.get(0)?,
                            id: row.get(1)?,
                        })
                    })?
                    .collect()
            })
            .map_err(error)
    }

    fn exists(&self, query: &str, values: impl rusqlite::Params) -> Result<bool, Error> {
        self.db
            .prepare_cached(query)
            .and_then(|mut select| select.query_row(values, |_| Ok(())).optional())
            .map(|found| found.is_some())
            .map_err(error)
    }

    fn run(&self, statement: &str, values: impl rusqlite::Params) -> Result<(), Error> {
        self.db
            .prepare_cached(statement)
            .and_then(|mut statement| statement.execute(values))
            .map(|_| ())
            .map_err(error)
    }
}

/// Text as it is compared: letters that Unicode's simple case folding makes one
/// are one.
fn fold(text: &str) -> String {
    text.chars().map(fold_char).collect()
}

fn fold_char(c: char) -> char {
    // Has a capital, but folds to itself.
    if c == 'ı' {
        return c;
    }
    let capital = one(c, c.to_uppercase());
    one(capital, capital.to_lowercase())
}

/// A letter's other form, unless that is several letters.
fn one(c: char, mut other: impl Iterator<Item = char>) -> char {
    match (other.next(), other.next()) {
        (Some(other), None) => other,
        _ => c,
    }
}

fn error(source: rusqlite::Error) -> Error {
    Error::Database {
        doing: "looking for people of the external file",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn case_does_not_matter_as_unicode_folds_it() {
        for (one, other) in [
            ("Ann@Example.COM", "ann@example.com"),
            ("\u{212a}elvin", "kelvin"),
            ("STRAẞE", "straße"),
            ("ſ", "S"),
            ("ΣΊΣΥΦΟΣ", "Σίσυφος"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
        for (one, other) in [("ı", "i"), ("İ", "i"), ("straße", "strasse")] {
            assert_ne!(fold(one), fold(other), "{one} {other}");
        }
    }
}
