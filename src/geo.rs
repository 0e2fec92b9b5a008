//! Where addresses are: country and network operator, as files of MaxMind's format say that the administrator has.
//!
//! The files are held in memory, at most [`MOST`] bytes each, and at a reload a thread that is there only meanwhile reads
//! them again. Threads that read from Asterisk or answer the console look addresses up; the owner, whom all wait for, never
//! does either.

use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;

use log::error;
use maxminddb::{MaxMindDbError, PathElement, Reader, WithinOptions};
use serde::Serialize;

use crate::config::GeoConfig;
use crate::failure::Failure;
use crate::file;
use crate::logging::printable;
use crate::model::country::Country;
use crate::model::security::SecurityEvent;

/// At most so many bytes has a file. GeoLite2-Country has 9 million, GeoLite2-ASN 11, GeoLite2-City 65.
pub const MOST: u64 = 256 << 20;

/// At most so many networks of a file are looked at to see whether it is of the right kind.
const SAMPLE: usize = 1_000;

/// At most so many characters of an operator's name are shown.
const LONGEST: usize = 32;

const COUNTRY: [&str; 2] = ["country", "iso_code"];
/// Where a network is registered, if nobody knows where it is.
const REGISTERED: [&str; 2] = ["registered_country", "iso_code"];
const NUMBER: [&str; 1] = ["autonomous_system_number"];
const NAME: [&str; 1] = ["autonomous_system_organization"];

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {}: {what}", path.display())]
pub struct Error {
    /// Key of the configuration.
    pub key: &'static str,
    /// Path of the file.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub what: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(Failure::CONFIG, error)
    }
}

/// The databases that are in force. Whoever has a copy sees what is read later.
#[derive(Clone, Debug, Default)]
pub struct Atlas {
    maps: Arc<RwLock<Arc<Maps>>>,
    rereading: Arc<Mutex<Rereading>>,
}

/// What is to be read again.
#[derive(Debug, Default)]
struct Rereading {
    /// The files to read next: those of the last reload.
    next: Option<GeoConfig>,
    /// Whether there is a thread at work.
    is_at_work: bool,
    /// What was wrong at the last reload: however many reloads find the same, it is said once.
    told: Option<String>,
}

/// What is known of where an address is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// Number and name of the operator of its network, such as `AS8151 Uninet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

#[derive(Debug, Default)]
struct Maps {
    countries: Option<Reader<Vec<u8>>>,
    networks: Option<Reader<Vec<u8>>>,
}

impl Atlas {
    /// Reads the files that are configured; without any, nothing is looked up.
    ///
    /// # Errors
    /// If one cannot be read or is of another kind.
    pub fn open(config: &GeoConfig) -> Result<Atlas, Error> {
        let atlas = Atlas::default();
        atlas.read(config).map(|()| atlas)
    }

    /// Has the files read again: others may lie under their names. Returns at once; what was read before is in force
    /// until then, and stays if a file is bad, which the log then says once.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn reread(&self, config: &GeoConfig) -> io::Result<()> {
        let mut rereading = self.rereading();
        rereading.next = Some(config.clone());
        if !rereading.is_at_work {
            let atlas = self.clone();
            thread::Builder::new().name("geo".into()).spawn(move || atlas.read_what_is_next())?;
            rereading.is_at_work = true;
        }
        Ok(())
    }

    fn read_what_is_next(&self) {
        while let Some(config) = self.take_next() {
            let wrong = self.read(&config).err().map(|why| why.to_string());
            let told = std::mem::replace(&mut self.rereading().told, wrong.clone());
            if let Some(why) = wrong.filter(|why| told.as_ref() != Some(why)) {
                error!("ERROR => {why}; what was read before holds");
            }
        }
    }

    /// What to read next; with nothing more the work has ended.
    fn take_next(&self) -> Option<GeoConfig> {
        let mut rereading = self.rereading();
        let next = rereading.next.take();
        rereading.is_at_work = next.is_some();
        next
    }

    fn rereading(&self) -> MutexGuard<'_, Rereading> {
        // A thread that panicked has ended the process.
        self.rereading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, config: &GeoConfig) -> Result<(), Error> {
        let open = |key, path: &Option<PathBuf>, field: &[&str]| {
            let read = |path: &PathBuf| read(path, field).map_err(|what| Error { key, path: path.clone(), what });
            path.as_ref().map(read).transpose()
        };
        let countries = open("geo.country", &config.country, &COUNTRY)?;
        let networks = open("geo.network", &config.network, &NUMBER)?;
        // A thread that panicked has ended the process.
        *self.maps.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Maps { countries, networks });
        Ok(())
    }

    /// Whether there is anything to look up.
    pub fn is_empty(&self) -> bool {
        let maps = self.maps();
        maps.countries.is_none() && maps.networks.is_none()
    }

    /// Where an address is, as far as it is known.
    pub fn place(&self, address: IpAddr) -> Place {
        let maps = self.maps();
        Place { country: maps.country(address), network: maps.network(address) }
    }

    /// Notes in each event of somebody who was refused which country he is in.
    pub fn locate(&self, events: &mut [SecurityEvent]) {
        let maps = self.maps();
        if maps.countries.is_some() {
            for event in events.iter_mut().filter(|event| event.kind.is_failure()) {
                event.country = maps.country(event.source());
            }
        }
    }

    fn maps(&self) -> Arc<Maps> {
        Arc::clone(&self.maps.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Maps {
    fn country(&self, address: IpAddr) -> Option<Country> {
        let found = self.countries.as_ref()?.lookup(address.to_canonical()).ok()?;
        let code = |path: &[&str]| found.decode_path::<&str>(&keys(path)).ok().flatten()?.parse().ok();
        code(&COUNTRY).or_else(|| code(&REGISTERED))
    }

    fn network(&self, address: IpAddr) -> Option<String> {
        let found = self.networks.as_ref()?.lookup(address.to_canonical()).ok()?;
        let number = found.decode_path::<u32>(&keys(&NUMBER)).ok().flatten()?;
        let name = found.decode_path::<&str>(&keys(&NAME)).ok().flatten().unwrap_or_default();
        let name: String = name.chars().take(LONGEST).collect();
        Some(printable(format!("AS{number} {name}").trim_end()))
    }
}

impl Place {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.country.is_none() && self.network.is_none()
    }
}

impl fmt::Display for Place {
    /// `MX, AS8151 Uninet`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let country = self.country.map(|country| country.to_string());
        let known: Vec<&str> = country.as_deref().into_iter().chain(self.network.as_deref()).collect();
        f.write_str(&known.join(", "))
    }
}

/// Reads a file in which networks have this field.
fn read(path: &Path, field: &[&str]) -> Result<Reader<Vec<u8>>, String> {
    let bytes = bytes(path).map_err(|error| format!("cannot be read: {error}"))?;
    let reader = Reader::from_source(bytes).map_err(damaged)?;
    for network in reader.networks(WithinOptions::default()).map_err(damaged)?.take(SAMPLE) {
        if network.map_err(damaged)?.decode_path::<Ignored>(&keys(field)).is_ok_and(|found| found.is_some()) {
            return Ok(reader);
        }
    }
    let kind = printable(&reader.metadata().database_type);
    Err(format!("is a database of another kind ({kind}): its networks have no {}", field.join(".")))
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::other(format!("it has more than {} MiB", MOST >> 20)));
    }
    bytes.shrink_to_fit();
    Ok(bytes)
}

fn damaged(error: MaxMindDbError) -> String {
    format!("is no database of MaxMind's format, or damaged ({error}); fetch it again")
}

fn keys<'a>(path: &'a [&'a str]) -> Vec<PathElement<'a>> {
    path.iter().map(|key| PathElement::Key(key)).collect()
}

/// Any value at all.
type Ignored = serde::de::IgnoredAny;

#[cfg(test)]
pub(crate) mod tests;
