//! The fleet, through a real redis-server.

#[path = "fleet/command.rs"]
mod command;
#[path = "fleet/daemons.rs"]
mod daemons;
#[path = "fleet/eyes.rs"]
mod eyes;
#[path = "common/lab.rs"]
mod lab;
#[path = "fleet/mad.rs"]
mod mad;
#[path = "fleet/member.rs"]
mod member;
#[path = "common/redis.rs"]
mod redis;
#[path = "fleet/rights.rs"]
mod rights;
#[path = "fleet/telling.rs"]
mod telling;
#[path = "fleet/trouble.rs"]
mod trouble;
