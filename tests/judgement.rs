//! Whom the judge blocks, of honest phones and attackers of every kind at once, compared at every step with a model that
//! keeps all it ever heard and counts it anew, as the rules say it.

#[path = "fuzz/asterisk.rs"]
mod asterisk;

#[path = "judgement/agreement.rs"]
mod agreement;
#[path = "judgement/bound.rs"]
mod bound;
#[path = "judgement/company.rs"]
mod company;
#[path = "judgement/court.rs"]
mod court;
#[path = "judgement/forgery.rs"]
mod forgery;
#[path = "judgement/model.rs"]
mod model;
#[path = "judgement/sky.rs"]
mod sky;
#[path = "judgement/storm.rs"]
mod storm;
#[path = "judgement/stream.rs"]
mod stream;
#[path = "judgement/traffic.rs"]
mod traffic;
