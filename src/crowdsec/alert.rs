//! PURE: what we report to CrowdSec, in its words (`localapi_swagger.yaml`).

use ipnet::IpNet;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::decisions::OURS;
use crate::model::block::Reason;
use crate::model::clock::UnixTime;
use crate::model::net::Plain;

/// A block to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub net: IpNet,
    pub reason: Reason,
    pub at: UnixTime,
    pub end: UnixTime,
}

impl Report {
    /// An alert that leaves it to the server what to decide.
    pub(super) fn alert(&self) -> Value {
        let address = Plain(self.net).to_string();
        let is_host = self.net.prefix_len() == self.net.max_prefix_len();
        let source = match is_host {
            true => json!({ "scope": "Ip", "value": address, "ip": address }),
            false => json!({ "scope": "Range", "value": address, "range": address }),
        };
        let at = rfc3339(self.at);
        json!({
            "scenario": scenario(self.reason),
            "scenario_hash": "",
            "scenario_version": env!("CARGO_PKG_VERSION"),
            "message": format!("SIPban blocks {address} ({})", self.reason),
            "events_count": 1,
            "start_at": at,
            "stop_at": at,
            "capacity": 0,
            "leakspeed": "0s",
            "simulated": false,
            "remediation": true,
            "events": [],
            "source": source,
        })
    }
}

/// Whether a block for this reason is evidence that others can use: not what an administrator or an earlier process has
/// decided.
pub(super) fn is_evidence(reason: Reason) -> bool {
    !matches!(reason, Reason::Manual | Reason::Adopted)
}

/// Such as `sipban/invalid-account`.
fn scenario(reason: Reason) -> String {
    format!("{OURS}{}", reason.text().to_ascii_lowercase().replace(' ', "-"))
}

/// Such as `2026-11-24T00:00:00Z`.
fn rfc3339(at: UnixTime) -> String {
    let moment = i64::try_from(at.0).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let shown = moment
        .and_then(|moment| moment.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z")).ok());
    shown.unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_whom_why_and_when_and_decides_nothing() {
        let report = |net: &str| Report {
            net: net.parse::<Plain>().unwrap().0,
            reason: Reason::InvalidAccount,
            at: UnixTime(1_795_566_156),
            end: UnixTime(1_795_566_256),
        };
        let alert = report("45.10.1.1").alert();
        assert_eq!(alert["scenario"], "sipban/invalid-account");
        assert_eq!(alert["start_at"], "2026-11-25T00:22:36Z");
        assert_eq!(alert["source"], json!({ "scope": "Ip", "value": "45.10.1.1", "ip": "45.10.1.1" }));
        assert_eq!((&alert["remediation"], alert.get("decisions")), (&json!(true), None));
        let range = report("2a00:1::/64").alert();
        assert_eq!(range["source"], json!({ "scope": "Range", "value": "2a00:1::/64", "range": "2a00:1::/64" }));
        assert!(is_evidence(Reason::Flood) && !is_evidence(Reason::Manual) && !is_evidence(Reason::Adopted));
    }
}
