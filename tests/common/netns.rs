//! Network namespaces of a test's own, and both kinds of iptables to use in them.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};
use tempfile::TempDir;

/// A network namespace, removed when dropped. Nothing in it reaches the machine's own rules or networks.
pub struct Netns {
    name: String,
}

/// How iptables speaks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Through nf_tables.
    Nft,
    /// In the old way.
    Legacy,
}

impl Netns {
    /// `None`, loudly, where there are no rights to make one; that fails where the environment has `CI`.
    pub fn new() -> Option<Netns> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("sipban-test-{}-{}", process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        match call("ip", &["netns", "add", &name]) {
            Ok(_) => {
                let netns = Netns { name };
                netns.run(&["ip", "link", "set", "lo", "up"]);
                Some(netns)
            }
            Err(why) => skip(&format!("no network namespace can be had: {why}")),
        }
    }

    /// Another namespace, joined to this one by a cable. The near and the far end get these addresses.
    pub fn joined(&self, near: &[IpAddr], far: &[IpAddr]) -> Option<Netns> {
        let other = Netns::new()?;
        self.connect("near", near, &other, "far", far);
        Some(other)
    }

    /// Joins this namespace and another by a cable, whose ends are links of these names with these addresses.
    pub fn connect(&self, near_link: &str, near: &[IpAddr], other: &Netns, far_link: &str, far: &[IpAddr]) {
        self.run(&["ip", "link", "add", near_link, "type", "veth", "peer", "name", far_link, "netns", &other.name]);
        for (netns, link, addresses) in [(self, near_link, near), (other, far_link, far)] {
            for address in addresses {
                let (bits, more): (_, &[&str]) = if address.is_ipv4() { (24, &[]) } else { (64, &["nodad"]) };
                let address = format!("{address}/{bits}");
                netns.run(&[&["ip", "address", "add", &address, "dev", link], more].concat());
            }
            netns.run(&["ip", "link", "set", link, "up"]);
        }
    }

    /// Does `work` on a thread that lives in this namespace, with all processes and sockets it makes.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(Path::new("/run/netns").join(&self.name)).unwrap();
        let inside = || {
            setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        let joined = thread::scope(|scope| {
            thread::Builder::new().name(self.name.clone()).spawn_scoped(scope, inside).unwrap().join()
        });
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs a command in this namespace, which must succeed; returns what it printed.
    pub fn run(&self, argv: &[&str]) -> String {
        call("ip", &[&["netns", "exec", &self.name], argv].concat()).unwrap()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = call("ip", &["netns", "del", &self.name]);
    }
}

impl Variant {
    /// A folder in which `iptables` and the like are of this kind, with ipset and nft; `None`, loudly, if that is not installed.
    pub fn folder(self) -> Option<TempDir> {
        let program = match self {
            Variant::Nft => "xtables-nft-multi",
            Variant::Legacy => "xtables-legacy-multi",
        };
        let places = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
        let Some(program) = places.iter().map(|place| Path::new(place).join(program)).find(|path| path.exists()) else {
            return skip(&format!("{program} is not installed"));
        };
        let folder = tempfile::tempdir().unwrap();
        for name in ["iptables", "ip6tables"]
            .iter()
            .flat_map(|name| ["", "-save", "-restore"].map(|end| format!("{name}{end}")))
        {
            symlink(&program, folder.path().join(name)).unwrap();
        }
        for name in ["ipset", "nft"] {
            let other = nft().filter(|_| name == "nft");
            let usual = || places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
            let Some(program) = other.or_else(usual) else { return skip(&format!("{name} is not installed")) };
            symlink(&program, folder.path().join(name)).unwrap();
        }
        Some(folder)
    }
}

/// The nft of another distribution, to be tried: SIPBAN_TEST_NFT=/path/to/it. What it made may crash the one of this
/// machine that is to list it.
pub fn nft() -> Option<PathBuf> {
    std::env::var_os("SIPBAN_TEST_NFT").map(PathBuf::from)
}

/// Runs a program in the namespace of this thread; its complaint is the error.
pub fn call(program: impl AsRef<Path>, args: &[&str]) -> Result<String, String> {
    #[expect(clippy::disallowed_methods, reason = "the rules are looked at from outside of what is tested")]
    let output = Command::new(program.as_ref()).args(args).output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{} {}: {}", program.as_ref().display(), args.join(" "), text(&output.stderr))),
    }
}

/// Puts a shell script in the place of a program that iptables' folder holds; in it, `$REAL` is that program.
pub fn replace_by_script(folder: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let real = folder.join("real");
    fs::create_dir_all(&real).unwrap();
    fs::rename(folder.join(name), real.join(name)).unwrap();
    let script = format!("#!/bin/sh\nREAL={}\n{script}\n", real.join(name).display());
    fs::write(folder.join(name), script).unwrap();
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

#[expect(clippy::print_stderr, reason = "a test that did not run must be seen")]
fn skip<T>(why: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("SKIPPED: {why}");
    None
}
