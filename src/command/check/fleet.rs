//! Whether the server of the fleet is there, lets us do what we must, and keeps us from speaking for others.

use redis::{Cmd, cmd};

use super::{Finding, Machine};
use crate::config::{Fleet, ServerUrl};
use crate::fleet::answer;
use crate::fleet::keys::Keys;
use crate::fleet::server::{Error, Server, refusal};
use crate::logging::escape;

const LOGIN: &str = "fleet";
const RIGHTS: &str = "fleet rights";

/// A member that there is not. What is written in its name would harm nobody, if it were not refused.
const NOBODY: &str = "sipban-check";

const ADVICE: &str = "tell the server what `sipban fleet acl` prints for this name";

pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let fleet = &machine.config.fleet;
    let Some(url) = &fleet.url else { return Vec::new() };
    let mut server = match Server::connect(fleet, url) {
        Ok(server) => server,
        Err(Error::Refused(why)) => return vec![Finding::fail(LOGIN, said(&why), ADVICE)],
        Err(why) => {
            let advice = "start the server, or set fleet.url right; until then this PBX is alone";
            return vec![Finding::fail(LOGIN, said(&why.to_string()), advice)];
        }
    };
    let began = machine.clock.now();
    let time = match server.ask(&cmd("TIME")) {
        Ok(time) => answer::time(time).unwrap_or_default() / 1_000,
        Err(why) => return vec![Finding::fail(RIGHTS, said(&format!("TIME: {why}")), ADVICE)],
    };
    let took = machine.clock.now().monotonic.saturating_sub(began.monotonic).as_secs_f64() * 1_000.0;
    let clock = time.abs_diff(began.wall.0);
    let mut findings = vec![Finding::ok(LOGIN, there(fleet, url, took, clock))];
    findings.push(rights(fleet, &mut server));
    findings
}

fn there(fleet: &Fleet, url: &ServerUrl, took: f64, clock: u64) -> String {
    let tls = if url.tls { "TLS" } else { "without TLS" };
    let (name, group, at) = (&fleet.name, &fleet.group, format!("{}:{}", url.host, url.port));
    format!("{name} of {group} at {at} ({tls}), answers in {took:.1} ms, its clock is {clock} s from ours")
}

fn rights(fleet: &Fleet, server: &mut Server) -> Finding {
    let keys = Keys::new(&fleet.group);
    for command in needed(&keys, &fleet.name) {
        match server.ask(&command) {
            Err(Error::Refused(why)) if why.starts_with("NOPERM") => {
                return Finding::fail(RIGHTS, said(&why), ADVICE);
            }
            Err(why @ (Error::Lost(_) | Error::Overlong(_))) => {
                return Finding::fail(RIGHTS, said(&why.to_string()), "call it again");
            }
            // Other refusals come after the right was looked at.
            Ok(_) | Err(Error::Refused(_)) => {}
        }
    }
    let refused = |answer| matches!(refusal(answer), Err(Error::Refused(why)) if why.starts_with("NOPERM"));
    let answers = server.ask_all(&writing(&keys, NOBODY));
    match answers.map(|answers| answers.into_iter().all(refused)) {
        Ok(true) => Finding::ok(RIGHTS, format!("as {} it writes its own keys and nobody else's", fleet.user)),
        Ok(false) => {
            let text = "it may write the keys of other members, so each of them can speak in another's name";
            Finding::warn(RIGHTS, text, "give each member a user of its own: sipban fleet acl NAME")
        }
        Err(why) => Finding::fail(RIGHTS, said(&why.to_string()), "call it again"),
    }
}

/// What a member does, each in a way that changes nothing.
fn needed(keys: &Keys, name: &str) -> Vec<Cmd> {
    let mut commands = vec![
        cmd("PING"),
        cmd("SCAN").arg(0).arg("MATCH").arg(keys.any()).to_owned(),
        cmd("XINFO").arg("STREAM").arg(keys.stream(NOBODY)).to_owned(),
        cmd("XREAD").arg("STREAMS").arg(keys.stream(NOBODY)).arg("0-0").to_owned(),
        cmd("ZRANGEBYSCORE").arg(keys.blocks(NOBODY)).arg(0).arg(0).to_owned(),
        cmd("GETRANGE").arg(keys.beat(NOBODY)).arg(0).arg(0).to_owned(),
    ];
    commands.extend(writing(keys, name));
    commands
}

/// What a member writes, each in a way that changes nothing: no such member of a set, no such option, an ID that no entry
/// can have.
fn writing(keys: &Keys, name: &str) -> Vec<Cmd> {
    vec![
        cmd("XADD").arg(keys.stream(name)).arg("0-0").arg("v").arg("1").to_owned(),
        cmd("ZADD").arg(keys.blocks(name)).arg("XX").arg(0).arg("nobody").to_owned(),
        cmd("ZREM").arg(keys.blocks(name)).arg("nobody").to_owned(),
        cmd("ZREMRANGEBYSCORE").arg(keys.blocks(name)).arg("-inf").arg("-inf").to_owned(),
        cmd("SET").arg(keys.beat(name)).arg("").arg("EX").arg("0").to_owned(),
        cmd("EXPIRE").arg(keys.beat(name)).arg("x").to_owned(),
    ]
}

fn said(why: &str) -> String {
    escape(why).to_string()
}
