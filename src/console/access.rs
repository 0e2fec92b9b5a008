//! Who may use the console: over loopback the users that the configuration names, from elsewhere those who know the
//! password. Root always may; [`crate::listener`] sees to that, and finds out whose connection it is.

use std::hint::black_box;

use nix::unistd::{Uid, User};

use crate::config::{Control, Secret};

/// Whether the configuration names this user. Names are looked up each time: users come and go while we run.
pub fn is_named(control: &Control, uid: Uid) -> bool {
    control.users.iter().any(|name| User::from_name(name).ok().flatten().is_some_and(|user| user.uid == uid))
}

/// The password for connections from elsewhere; `None` if there may be none.
pub fn password(control: &Control) -> Option<&Secret> {
    control.password.as_ref().filter(|password| !password.0.is_empty())
}

/// Compares in a time that does not tell how much of the password was right.
pub fn is_password(attempt: &str, password: &Secret) -> bool {
    let (attempt, password) = (attempt.as_bytes(), password.0.as_bytes());
    let difference = attempt.iter().zip(password).fold(0, |found, (a, b)| black_box(found | (a ^ b)));
    attempt.len() == password.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(users: &[&str], password: Option<&str>) -> Control {
        Control {
            address: "127.0.0.1".parse().unwrap(),
            port: 4451,
            users: users.iter().map(|&name| name.to_owned()).collect(),
            password: password.map(|password| Secret(password.to_owned())),
        }
    }

    #[test]
    fn the_named_users_are_allowed() {
        let nobody = User::from_name("nobody").unwrap().unwrap().uid;
        assert!(is_named(&control(&["no-such-user", "nobody"], None), nobody));
        assert!(!is_named(&control(&["root", "no-such-user"], None), nobody));
    }

    #[test]
    fn an_empty_password_is_none() {
        assert_eq!(password(&control(&[], None)), None);
        assert_eq!(password(&control(&[], Some(""))), None);
        assert_eq!(password(&control(&[], Some("getout"))), Some(&Secret("getout".to_owned())));
    }

    #[test]
    fn only_the_whole_password_is_right() {
        let password = Secret("getout".to_owned());
        assert!(is_password("getout", &password));
        for wrong in ["", "getou", "getouT", "getoutt", "Getout"] {
            assert!(!is_password(wrong, &password), "{wrong}");
        }
    }
}
