//! Starts, of all kinds: those that work, and those that cannot and say why.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use nix::sys::signal::{self, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::lab::netns::{Variant, replace_by_script};
use crate::lab::{Lab, each, each_chain, wait_until};

const ATTACKER: &str = "221.121.138.167";

fn lab() -> Option<Lab> {
    Lab::new(Variant::Nft)
}

/// Exit status, and what was said on standard error.
fn outcome(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn all_errors_of_a_configuration_are_told_at_once() {
    let Some(mut lab) = lab() else { return };
    lab.set("iptables.verfy", 5);
    lab.set("timer.ban", "soon");
    lab.set("colour.sky", "blue");
    lab.set("control.address", "0.0.0.0");
    let (status, said) = outcome(&lab.run(&[]));
    assert_eq!(status, Some(78), "{said}");
    for part in ["iptables.verify", "timer.ban", "[colour]", "control.password"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    let conf = lab.path("conf");
    assert_eq!(said.matches(&format!("{}:", conf.display())).count(), 4, "{said}");
    assert!(!said.contains("getout"), "{said}");
    assert!(!lab.path("log").exists());
    assert!(lab.chain("iptables").is_err());
}

#[test]
fn a_configuration_that_is_not_there_is_named() {
    let Some(lab) = lab() else { return };
    fs::remove_file(lab.path("conf")).unwrap();
    let (status, said) = outcome(&lab.run(&[]));
    assert_eq!(status, Some(78), "{said}");
    assert!(said.contains(&format!("{}: ", lab.path("conf").display())) && said.contains("No such file"), "{said}");
}

#[test]
fn a_console_port_that_is_taken_is_named_and_no_rule_is_made() {
    let Some(mut lab) = lab() else { return };
    lab.start();
    let before = lab.rules();
    // A second daemon with everything its own but the port.
    for (key, file) in [("state.file", "state2/bans"), ("log.file", "log2")] {
        lab.set(key, lab.path(file).display().to_string());
    }
    lab.set("iptables.chain", "another");
    let output = lab.run(&[]);
    let (status, said) = outcome(&output);
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains("cannot listen on 127.0.0.1:") && said.contains("in use"), "{said}");
    assert_eq!(lab.rules(), before);
}

#[test]
fn a_chain_of_iptables_itself_is_refused() {
    each_chain(|mut lab| {
        lab.tool("iptables", "-A INPUT -p tcp --dport 22 -j ACCEPT").unwrap();
        let before = lab.rules();
        for chain in ["INPUT", "ACCEPT", "a b", "-x", "much-too-long-for-the-name-of-a-chain"] {
            lab.set("iptables.chain", chain);
            for args in [&[][..], &["-d"]] {
                let (status, said) = outcome(&lab.run(args));
                assert!(matches!(status, Some(69 | 78)), "{chain}: {status:?} {said}");
                assert!(said.contains("iptables.chain"), "{said}");
            }
        }
        assert_eq!(lab.rules(), before);
    });
}

#[test]
fn iptables_that_does_not_work_is_named_with_its_complaint() {
    let Some(lab) = lab() else { return };
    for name in ["iptables", "iptables-save", "iptables-restore"] {
        replace_by_script(
            lab.programs.path(),
            name,
            "echo 'Table does not exist (do you need to insmod?)' >&2; exit 3",
        );
        let (status, said) = outcome(&lab.run(&[]));
        assert_eq!(status, Some(69), "{said}");
        let program = lab.programs.path().join(name);
        assert!(said.contains(&program.display().to_string()), "{said}");
        assert!(said.contains("do you need to insmod?"), "{said}");
        assert!(lab.logged("ERROR => ") > 0, "{}", lab.log());
        fs::rename(lab.programs.path().join("real").join(name), program).unwrap();
    }
}

#[test]
fn without_rights_it_says_so() {
    each_chain(|lab| {
        let program = lab.path("sipban");
        fs::copy(env!("CARGO_BIN_EXE_sipban"), &program).unwrap();
        for path in [lab.folder.path(), lab.programs.path()] {
            let mut command = lab.program("chown");
            assert!(command.args(["-R", "65534"]).arg(path).status().unwrap().success());
        }
        let mut command = lab.program("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
        command.arg("-c").arg(lab.path("conf"));
        let (status, said) = outcome(&lab.netns.enter(|| command.output().unwrap()));
        assert_eq!(status, Some(69), "{said}");
        let told = said.to_lowercase();
        assert!(told.contains("permission denied") || told.contains("you must be root"), "{said}");
        assert!(lab.chain("iptables").is_err());
    });
}

#[test]
fn a_second_daemon_is_refused_and_leaves_the_first_one_alone() {
    each(|mut lab| {
        lab.start();
        lab.attack_and_block(ATTACKER);
        let before = lab.rules();
        for args in [&[][..], &["-d"]] {
            let (status, said) = outcome(&lab.run(args));
            assert_ne!(status, Some(0));
            assert!(said.contains("is in use: another sipban is running"), "{said}");
        }
        lab.assert_running();
        assert_eq!(lab.rules(), before);
        lab.attack_and_block("192.0.2.8");
    });
}

#[test]
fn a_daemon_is_up_when_the_command_returns_and_a_second_one_names_it() {
    each_chain(|lab| {
        let output = lab.run(&["-d"]);
        let (status, said) = outcome(&output);
        assert_eq!((status, said.as_str()), (Some(0), ""), "{}", lab.log());
        // No waiting: it was up when the command ended.
        assert!(lab.chain("iptables").is_ok());
        assert_eq!(lab.console("block 192.0.2.7"), "192.0.2.7 block");
        let pid: i32 = lab.text("pid").trim().parse().unwrap();
        let process = format!("/proc/{pid}");
        assert_eq!(fs::read_to_string(format!("{process}/comm")).unwrap(), "sipban\n");
        let (status, said) = outcome(&lab.run(&["-d"]));
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(&format!("running already, as process {pid} ")), "{said}");
        assert!(lab.is_blocked("192.0.2.7"));
        signal::kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        wait_until("its end", || !Path::new(&process).exists());
        assert!(!lab.path("pid").exists());
        assert!(lab.chain("iptables").is_err());
    });
}

#[test]
fn a_daemon_that_cannot_be_set_up_fails_before_the_command_returns() {
    let Some(mut lab) = lab() else { return };
    lab.set("iptables.scope", "-p udp --no-such-match 1");
    let (status, said) = outcome(&lab.run(&["-d"]));
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains("no-such-match"), "{said}");
    assert!(!lab.path("pid").exists());
    lab.set("iptables.scope", "auto");
    lab.set("log.file", "/no/such/folder/log");
    let (status, said) = outcome(&lab.run(&["-d"]));
    assert_eq!(status, Some(73), "{said}");
    assert!(said.contains("/no/such/folder/log"), "{said}");
}

#[test]
fn a_daemon_that_dies_before_it_is_set_up_is_a_failure_of_the_command() {
    let Some(lab) = lab() else { return };
    replace_by_script(lab.programs.path(), "iptables", "kill -9 $PPID");
    let (status, said) = outcome(&lab.run(&["-d"]));
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("ended before it was set up"), "{said}");
}

#[test]
fn a_daemon_has_a_session_and_nothing_of_whoever_started_it() {
    let Some(lab) = lab() else { return };
    let (status, said) = outcome(&lab.run(&["-d"]));
    assert_eq!(status, Some(0), "{said}");
    let pid = lab.text("pid").trim().to_owned();
    let process = Path::new("/proc").join(&pid);
    assert_eq!(fs::read_link(process.join("cwd")).unwrap(), Path::new("/"));
    for stream in ["0", "1", "2"] {
        assert_eq!(fs::read_link(process.join("fd").join(stream)).unwrap(), Path::new("/dev/null"));
    }
    // Behind the name: state, parent, group, session, terminal.
    let stat = fs::read_to_string(process.join("stat")).unwrap();
    let words: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!(words[2..5], [&*pid, &*pid, "0"], "{stat}");
    let status = fs::read_to_string(process.join("status")).unwrap();
    assert!(status.contains("Umask:\t0027"), "{status}");
    signal::kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGTERM).unwrap();
    wait_until("its end", || !process.exists());
}

#[test]
fn a_pid_file_that_is_a_link_is_not_followed() {
    let Some(lab) = lab() else { return };
    fs::write(lab.path("precious"), "kept").unwrap();
    symlink(lab.path("precious"), lab.path("pid")).unwrap();
    let (status, said) = outcome(&lab.run(&["-d"]));
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("cannot use the pid file") && said.contains("it is a symbolic link"), "{said}");
    assert_eq!(lab.text("precious"), "kept");
    assert!(lab.chain("iptables").is_err());
}

#[test]
fn a_white_list_line_that_does_not_parse_is_named_and_the_others_hold() {
    let Some(mut lab) = lab() else { return };
    fs::write(lab.path("white_list"), "192.0.2.0/24\n# office\n10.0.0.300\n198.51.100.7\n").unwrap();
    lab.start();
    lab.wait_for_log(&format!("WHITE LIST => {}:3: \"10.0.0.300\" is no address", lab.path("white_list").display()));
    for protected in ["192.0.2.66", "198.51.100.7"] {
        assert!(lab.console(&format!("block {protected}")).contains("is in the white list"));
    }
    lab.attack_and_block(ATTACKER);
}

#[test]
fn a_white_list_that_cannot_be_read_is_named_and_nothing_is_started() {
    let Some(lab) = lab() else { return };
    fs::remove_file(lab.path("white_list")).unwrap();
    fs::create_dir(lab.path("white_list")).unwrap();
    let (status, said) = outcome(&lab.run_within_deadline(&[]));
    assert_eq!(status, Some(66), "{said}");
    let named = format!("cannot read the white list {}: it is a folder", lab.path("white_list").display());
    assert!(said.contains(&named), "{said}");
    assert!(lab.log().contains(&format!("ERROR => {named}")), "{}", lab.log());
    assert!(lab.chain("iptables").is_err());
}

#[test]
fn a_fifo_in_the_place_of_a_file_is_named_and_nobody_waits_for_it() {
    let Some(lab) = lab() else { return };
    for (file, status) in [("conf", 78), ("white_list", 66), ("log", 73), ("state/bans", 73)] {
        let path = lab.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let kept = fs::read(&path).ok();
        let _ = fs::remove_file(&path);
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        for args in [&[][..], &["-d"], &["check"]] {
            let output = lab.run_within_deadline(args);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let expected = if args == ["check"] { 1 } else { status };
            assert_eq!(output.status.code(), Some(expected), "{file} {args:?}: {said}");
            assert!(said.contains(&path.display().to_string()) && said.contains("it is a FIFO"), "{file}: {said}");
        }
        fs::remove_file(&path).unwrap();
        if let Some(bytes) = kept {
            fs::write(&path, bytes).unwrap();
        }
    }
}

#[test]
fn a_fifo_in_the_place_of_the_dump_holds_nobody_up() {
    let Some(mut lab) = lab() else { return };
    mkfifo(&lab.path("dump"), Mode::S_IRWXU).unwrap();
    lab.start();
    lab.attack_and_block(ATTACKER);
    for command in ["restore", "save", "flush"] {
        let answer = lab.console(command);
        assert!(answer.contains("the dump") && answer.contains("it is a FIFO"), "{command}: {answer}");
    }
    assert!(lab.is_blocked(ATTACKER));
}

#[test]
fn a_log_that_is_a_standard_stream_needs_one() {
    let Some(mut lab) = lab() else { return };
    lab.set("log.file", "/dev/stdout");
    let (status, said) = outcome(&lab.run(&["-d"]));
    assert_eq!(status, Some(78), "{said}");
    assert!(said.contains("log.file: a daemon has no /dev/stdout"), "{said}");
    lab.launch(&[]);
    wait_until("the log", || lab.text("stdout").contains("] SipBan Start\n"));
}

#[test]
fn a_dry_run_judges_and_touches_no_rule_even_beside_a_daemon() {
    each_chain(|mut lab| {
        lab.launch(&["-n"]);
        wait_until("the connection", || lab.text("stdout").contains("AMI => connected"));
        lab.attack(ATTACKER);
        wait_until("the verdict", || lab.text("stdout").contains(&format!("BLOCK => {ATTACKER} (Invalid Account)")));
        assert!(lab.chain("iptables").is_err() && lab.chain("ip6tables").is_err());
        assert!(!lab.path("state/bans").exists() && !lab.path("log").exists());
        lab.stop();
        assert!(lab.chain("iptables").is_err());
        assert!(!lab.text("stdout").contains("CHAIN"), "{}", lab.text("stdout"));
    });
}

#[test]
fn a_recording_is_replayed_to_standard_output() {
    let Some(lab) = lab() else { return };
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/ast22");
    let output = lab.run(&["replay", captures.join("acl.ami").to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(said.contains("BLOCK => 198.18.0.17 (Failed ACL)\n"), "{said}");
    assert!(!said.contains("198.18.0.100"), "{said}");
    let (status, said) = outcome(&lab.run(&["replay", "/no/such/file"]));
    assert_eq!(status, Some(66));
    assert!(said.contains("/no/such/file: No such file"), "{said}");
    assert!(lab.chain("iptables").is_err() && !lab.path("log").exists());
}
