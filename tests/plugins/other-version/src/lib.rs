//! A connector of a contract that this host does not speak.

wit_bindgen::generate!({ path: "wit", world: "connector" });

use exports::baton::connector::{metadata, session, sync};

struct Later;

impl metadata::Guest for Later {
    fn describe() -> String {
        "later".into()
    }
}

impl session::Guest for Later {
    fn open() -> Result<(), String> {
        Ok(())
    }
}

impl sync::Guest for Later {
    fn list_all(_page: Option<String>) -> Vec<String> {
        vec![]
    }
}

export!(Later);
