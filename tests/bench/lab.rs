//! Two machines: the PBX and whoever attacks it, each a network namespace, joined by a cable.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread::{self, Scope, ScopedJoinHandle};

use clap::ValueEnum;
use nix::sched::{CloneFlags, setns, unshare};
use tempfile::TempDir;

use crate::Failed;

/// The PBX.
pub const PBX: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// How blocks are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// A rule an address, iptables over nf_tables
    ChainNft,
    /// A rule an address, iptables of old
    ChainLegacy,
    /// A kernel set
    Ipset,
    /// A table of nftables
    Nft,
}

/// The machines. The thread that made them, and all it starts from then on, is on the PBX.
pub struct Lab {
    attackers: File,
    /// Holds the iptables of one kind under their usual names.
    pub programs: TempDir,
}

impl Backend {
    /// As the table shows it.
    pub fn name(self) -> &'static str {
        match self {
            Backend::ChainNft => "chain, nft",
            Backend::ChainLegacy => "chain, legacy",
            Backend::Ipset => "ipset",
            Backend::Nft => "nft",
        }
    }

    /// As the configuration names it.
    pub fn key(self) -> &'static str {
        match self {
            Backend::ChainNft | Backend::ChainLegacy => "iptables",
            Backend::Ipset => "ipset",
            Backend::Nft => "nft",
        }
    }

    /// Whether it bears hundreds of thousands of blocks.
    pub fn has_sets(self) -> bool {
        matches!(self, Backend::Ipset | Backend::Nft)
    }
}

/// Attacker number `n`. The first 65,536 can send packets.
pub fn attacker(n: usize) -> Ipv4Addr {
    match n {
        0..65_536 => Ipv4Addr::new(198, 19, (n >> 8) as u8, n as u8),
        _ => Ipv4Addr::from(0x0b00_0000 + n as u32),
    }
}

/// Says so if nothing can be measured for want of rights.
pub fn check_rights() -> Result<(), Failed> {
    let unshared = thread::scope(|scope| scope.spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join());
    match unshared {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(format!("network namespaces need root: {why}").into()),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl Lab {
    /// Two fresh machines, without a rule or a set. Those this thread was on before go with their last process.
    pub fn new(backend: Backend) -> Result<Lab, Failed> {
        let programs = programs(backend)?;
        let namespace = || -> Result<File, Failed> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        };
        let attackers = thread::scope(|scope| scope.spawn(namespace).join()).map_err(|_| "a thread panicked")??;
        namespace()?;
        let lab = Lab { attackers, programs };
        let there = format!("/proc/{}/fd/{}", process::id(), lab.attackers.as_raw_fd());
        ip("link set lo up")?;
        ip(&format!("link add near type veth peer name far netns {there}"))?;
        ip(&format!("address add {PBX}/24 dev near"))?;
        ip("link set near up")?;
        let far = || {
            ip("link set lo up")?;
            ip("address add 198.18.0.2/24 dev far")?;
            ip("link set far up")?;
            // Each of these may be a source address, without being given to an interface.
            ip("route add local 198.19.0.0/16 dev lo")
        };
        thread::scope(|scope| lab.as_attacker(scope, far)?.join().map_err(|_| "a thread panicked")?)?;
        ip("route add 198.19.0.0/16 via 198.18.0.2")?;
        Ok(lab)
    }

    /// Does `work` on a thread on the attackers' machine.
    pub fn as_attacker<'scope, T: Send + 'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce() -> Result<T, Failed> + Send + 'scope,
    ) -> Result<ScopedJoinHandle<'scope, Result<T, Failed>>, Failed> {
        let namespace = self.attackers.try_clone()?;
        Ok(thread::Builder::new().name("attacker".into()).spawn_scoped(scope, move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET)?;
            work()
        })?)
    }

    /// Runs a program of iptables or ipset to its end, with `input`; what it prints.
    pub fn run(&self, program: &str, args: &[&str], input: &str) -> Result<String, Failed> {
        run(self.program(program), args, input)
    }

    fn program(&self, name: &str) -> PathBuf {
        let ours = self.programs.path().join(name);
        if ours.exists() { ours } else { PathBuf::from(name) }
    }
}

fn ip(words: &str) -> Result<(), Failed> {
    run("ip", &words.split(' ').collect::<Vec<_>>(), "").map(drop)
}

fn run(program: impl AsRef<OsStr>, args: &[&str], input: &str) -> Result<String, Failed> {
    let name = program.as_ref().to_string_lossy().into_owned();
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{name}: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("{name} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A folder in which `iptables` and the like are of this kind.
fn programs(backend: Backend) -> Result<TempDir, Failed> {
    let kind = if backend == Backend::ChainLegacy { "xtables-legacy-multi" } else { "xtables-nft-multi" };
    let places = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
    let place = |name: &str| places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
    let program = place(kind).ok_or_else(|| format!("{kind} is not installed"))?;
    let folder = tempfile::tempdir()?;
    for family in ["iptables", "ip6tables"] {
        for end in ["", "-save", "-restore"] {
            symlink(&program, folder.path().join(format!("{family}{end}")))?;
        }
    }
    for name in ["ipset", "nft"].into_iter().filter(|name| *name == backend.key()) {
        symlink(place(name).ok_or_else(|| format!("{name} is not installed"))?, folder.path().join(name))?;
    }
    Ok(folder)
}

/// Lets this thread wake up when it wants, not 50 µs later.
pub fn wake_exactly() -> Result<(), Failed> {
    let this = fs::read_link("/proc/thread-self")?;
    let thread = this.file_name().unwrap_or_default();
    Ok(fs::write(Path::new("/proc").join(thread).join("timerslack_ns"), "1")?)
}
