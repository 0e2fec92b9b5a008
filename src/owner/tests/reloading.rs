//! What SIGHUP changes.

use super::*;

#[test]
fn a_configuration_that_does_not_parse_leaves_the_old_one_in_force() {
    let machine = Machine::new();
    let mut owner = machine.start();
    let reload = |owner: &mut Owner, text: &str| {
        fs::write(owner.config_file.clone(), text).unwrap();
        owner.turn(vec![Event::Reload]);
    };
    let file = |key: &str| {
        let path = |name: &str| -> String { Path::display(&machine.folder.path().join(name)).to_string() };
        format!(
            "[ami]\nuser = a\npass = b\n[limits]\n{key}\n[iptables]\nwhite_list = {}\n[log]\nfile = {}\nlevel = error\n",
            path("wl"),
            path("log")
        )
    };
    reload(&mut owner, &file("unknown_account = 2"));
    owner.turn(vec![attack("203.0.113.7")]);
    assert!(!machine.holds("203.0.113.7"));
    reload(&mut owner, &file("unknown_acount = 9"));
    owner.turn(vec![attack("203.0.113.7")]);
    assert!(machine.holds("203.0.113.7"));
}

#[test]
fn reloads_without_end_are_counted_and_no_longer_told() {
    let machine = Machine::new();
    let mut owner = machine.start();
    let path = |name: &str| -> String { Path::display(&machine.folder.path().join(name)).to_string() };
    let text = format!(
        "[ami]\nuser = a\npass = b\n[iptables]\nwhite_list = {}\n[log]\nfile = /dev/null\nlevel = error\n",
        path("wl")
    );
    fs::write(owner.config_file.clone(), text).unwrap();
    for _ in 0..NEWS {
        owner.turn(vec![Event::Reload]);
    }
    assert_eq!(owner.news.finish(), None);
    machine.white_list("192.0.2.1\n192.0.2.2\n");
    owner.turn(vec![Event::Reload, Event::Reload]);
    assert_eq!(owner.news.finish(), Some(4));
}

#[test]
fn a_reload_leaves_alone_what_needs_a_restart_and_tries_again_what_was_refused() {
    let machine = Machine::new();
    let mut owner = machine.start();
    let path = |name: &str| -> String { Path::display(&machine.folder.path().join(name)).to_string() };
    let [list, log] = [path("wl"), path("log")];
    let text = format!(
        "[ami]\nuser = a\npass = b\n[iptables]\nchain = other\nscope = \"\"\nwhite_list = {list}\n\
         [log]\nfile = {log}\nlevel = error\n"
    );
    fs::write(owner.config_file.clone(), text).unwrap();
    machine.kernel.1.lock().unwrap().refuses = true;
    owner.turn(vec![Event::Reload]);
    assert_eq!(owner.covered.traffic(), udp(&[(5060, 5061)]).unwrap());
    machine.kernel.1.lock().unwrap().refuses = false;
    owner.turn(vec![Event::Reload]);
    assert_eq!(machine.kernel.1.lock().unwrap().scope, Some(Traffic::All));
    assert_eq!(owner.covered.traffic(), Traffic::All);
    assert_eq!(owner.config.firewall.chain.as_str(), "sipban-udp");
}
