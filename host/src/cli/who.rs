//! Who runs this command, for the audit log.

/// The name of the user of this process, and its number: a name can be given
/// to another user later.
pub(super) fn user() -> String {
    let uid = rustix::process::getuid().as_raw();
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    shown(uid, name(uid, &known))
}

fn shown(uid: u32, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    }
}

fn name(uid: u32, passwd: &str) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        let number: u32 = parts.nth(1)?.parse().ok()?;
        (number == uid && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_named_by_number_and_where_it_is_known_by_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n#ana:x:7\nbroken\nana:x:1000:1000::/home/ana:/bin/sh\n";
        let shows = |uid| shown(uid, name(uid, passwd));
        assert_eq!(shows(0), "root (uid 0)");
        assert_eq!(shows(1000), "ana (uid 1000)");
        assert_eq!(shows(1001), "uid 1001");
    }
}
