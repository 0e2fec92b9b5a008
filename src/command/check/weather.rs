//! Whether the PBX itself is at fault, as its phones show: what the running daemon says.

use std::net::SocketAddr;

use serde_json::Value;

use super::{Finding, Machine};
use crate::command::ctl::{self, Destination};
use crate::console::request::WeatherKind;

const WHAT: &str = "PBX";

/// Asks the daemon, if one runs and lets us in.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let control = &machine.config.control;
    if !machine.listeners.iter().any(|listener| listener.is_of("sipban") && listener.address.port() == control.port) {
        return Vec::new();
    }
    let address = SocketAddr::new(ctl::reachable(control.address), control.port);
    let console = Destination { address, password: control.password.as_ref() };
    let (mut answer, mut complaint) = (Vec::new(), Vec::new());
    if console.call(&["status".to_owned()], true, &mut answer, &mut complaint) != ctl::OK {
        let why = String::from_utf8_lossy(&complaint).trim().to_owned();
        return vec![Finding::warn(WHAT, format!("the daemon does not say how it is: {why}"), "see its log")];
    }
    findings(&serde_json::from_slice(&answer).unwrap_or_default())
}

/// What the answer to `status --json` says of the PBX.
fn findings(status: &Value) -> Vec<Finding> {
    let fronts = status["weather"].as_array().map(Vec::as_slice).unwrap_or_default();
    if fronts.is_empty() {
        return vec![Finding::ok(WHAT, "accepts its own phones")];
    }
    let finding = |front: &Value| {
        let kind = if front["kind"] == "silent" { WeatherKind::Silent } else { WeatherKind::Refusing };
        let (affected, heard) = (&front["affected"], &front["heard"]);
        let text = format!("{}: {affected} of {heard} addresses where accounts live", kind.text());
        Finding::warn(WHAT, text, "look at Asterisk, its database and its way out")
    };
    fronts.iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bad_weather_is_a_warning_for_each_kind() {
        let front = |kind: &str| json!({"kind": kind, "affected": 14, "heard": 60});
        let lines = |status: &Value| findings(status).iter().map(Finding::line).collect::<String>();
        let bad = lines(&json!({"weather": [front("refusing"), front("silent")]}));
        assert!(bad.contains("WARN  PBX            refuses its own phones: 14 of 60 addresses"), "{bad}");
        assert!(bad.contains("is not answered by its own phones: 14 of 60"), "{bad}");
        assert!(lines(&json!({"weather": []})).starts_with("OK    PBX"));
    }
}
