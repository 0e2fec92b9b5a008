//! `sipban fleet`: what concerns all PBXs of the fleet. It speaks to their server, and to no daemon.

use std::io::{BufRead, Write};
use std::path::Path;

use ipnet::IpNet;
use redis::{Cmd, cmd};

use crate::cli;
use crate::config::Config;
use crate::failure::{Failure, print};
use crate::fleet::answer;
use crate::fleet::entry::Entry;
use crate::fleet::keys::Keys;
use crate::fleet::saying::saying;
use crate::fleet::server::{Error, Server, refusal};
use crate::model::block::Reason;
use crate::model::member::{ADMIN, MOST_NAME, is_name};
use crate::model::net::{Plain, is_too_wide, widest};

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(Failure::UNAVAILABLE, error)
    }
}

/// Does what was asked for; a password is read from `input`.
///
/// # Errors
/// If the configuration cannot be used, there is no fleet, or the server does not take it.
pub fn run(
    config_file: &Path,
    what: &cli::Fleet,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    match what {
        cli::Fleet::Acl { name } => acl(&Config::load_if_there(config_file)?, name, output),
        cli::Fleet::Block { net, seconds } => {
            let (config, net) = (Config::load(config_file)?.0, network(net)?);
            let seconds = seconds.unwrap_or(config.lengths.ban);
            let block = Entry::Block { net, reason: Reason::Manual, seconds };
            say(&config, &[Entry::Unpardon(net), block], input)?;
            print(output, &format!("{} is to be blocked at every PBX\n", Plain(net)), "the answer")
        }
        cli::Fleet::Unblock { net } => {
            let (config, net) = (Config::load(config_file)?.0, network(net)?);
            let pardon = Entry::Pardon { net, seconds: config.lengths.longest };
            say(&config, &[Entry::Unblock(net), pardon], input)?;
            print(output, &format!("{} is to be free at every PBX\n", Plain(net)), "the answer")
        }
    }
}

fn acl(config: &Config, name: &str, output: &mut dyn Write) -> Result<(), Failure> {
    if !is_name(name) {
        let what = format!("{name:?} is no name of a member: at most {MOST_NAME} letters, digits, -, _ and .");
        return Err(Failure::new(Failure::USAGE, what));
    }
    let rules = Keys::new(&config.fleet.group).rules(name);
    let text = format!(
        "# For redis-cli, as the administrator of the server; put a password in the place of PASSWORD:\n\
         ACL SETUSER {name} reset on >PASSWORD {rules}\n\
         # The same as a line of the server's aclfile:\n\
         user {name} reset on >PASSWORD {rules}\n"
    );
    print(output, &text, "the ACL")
}

/// Says this in the name of the administrator.
fn say(config: &Config, entries: &[Entry], input: &mut dyn BufRead) -> Result<(), Failure> {
    let none = || Failure::new(Failure::CONFIG, "there is no fleet: fleet.url is not set");
    let url = config.fleet.url.as_ref().ok_or_else(none)?;
    let mut password = String::new();
    input.read_line(&mut password)?;
    let password = Some(password.trim_end_matches(['\r', '\n'])).filter(|password| !password.is_empty());
    let mut server = Server::connect_as(&config.fleet, url, ADMIN, password)?;
    let now = answer::time(server.ask(&cmd("TIME"))?).unwrap_or_default() / 1_000;
    let keys = Keys::new(&config.fleet.group);
    let commands: Vec<Cmd> = entries.iter().flat_map(|entry| saying(&keys, ADMIN, entry, now)).collect();
    server.ask_all(&commands)?.into_iter().try_for_each(|answer| refusal(answer).map(drop))?;
    Ok(())
}

fn network(text: &str) -> Result<IpNet, Failure> {
    let Plain(net) =
        text.parse().map_err(|()| Failure::new(Failure::USAGE, format!("{text:?} is no address or network")))?;
    if is_too_wide(&net) {
        let what = format!("{net} is too wide to block: the widest network is a /{}", widest(&net));
        return Err(Failure::new(Failure::USAGE, what));
    }
    Ok(net)
}
