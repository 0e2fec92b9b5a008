use std::sync::Mutex;

use super::*;
use crate::config::Config;
use crate::firewall::Error;
use crate::firewall::lists::Look;

/// What was asked of the kernel, in words, and how many more times it refuses that.
#[derive(Clone, Debug, Default)]
struct Kernel(Arc<Mutex<(Vec<String>, usize)>>);

impl Kernel {
    fn ask(&self, what: &str) -> Result<(), Error> {
        let mut kernel = self.0.lock().unwrap();
        if kernel.1 > 0 {
            kernel.1 -= 1;
            return Err(Error(format!("no {what}")));
        }
        kernel.0.push(what.to_owned());
        Ok(())
    }

    fn refuse(&self, times: usize) {
        self.0.lock().unwrap().1 = times;
    }

    fn did(&self) -> Vec<String> {
        mem::take(&mut self.0.lock().unwrap().0)
    }
}

impl Lists for Kernel {
    fn set_up(&mut self) -> Result<Vec<String>, Error> {
        self.ask("set up").map(|()| Vec::new())
    }

    fn put(&mut self, list: &str, _: &mut dyn Iterator<Item = IpNet>, _: usize) -> Result<(), Error> {
        self.ask(&format!("put {list}"))
    }

    fn change(&mut self, _: &str, _: &[IpNet], _: &[IpNet]) -> Result<bool, Error> {
        Ok(false)
    }

    fn remove(&mut self, list: &str) -> Result<(), Error> {
        self.ask(&format!("remove {list}"))
    }

    fn verify(&mut self) -> Result<Look, Error> {
        Ok(Look::default())
    }

    fn follow(&mut self, _: &FirewallConfig, traffic: Traffic) -> Result<(), Error> {
        self.ask(&format!("follow {traffic:?}"))
    }

    fn tear_down(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn describe(&self) -> String {
        String::new()
    }
}

/// A keeper of one list, which finds no program that it could run.
fn keeper(kernel: &Kernel) -> Keeper {
    let text = "[ami]\nuser = u\npass = p\n[iptables]\npath = /nowhere\n[ipset]\npath = /nowhere\n[nft]\ntable = of-no-kernel\n";
    let config = Config::parse(text, std::path::Path::new("/test.conf")).unwrap();
    let names = ["voipbl".to_owned()].into();
    Keeper::new(Box::new(kernel.clone()), config.firewall, names, Arc::default(), Clock::start())
}

fn orders(keeper: &Keeper) -> Orders {
    Orders { rules: Some((keeper.config.clone(), Traffic::All)), ..Orders::default() }
}

#[test]
fn what_is_said_of_the_traffic_before_there_are_rules_holds_once_there_are() {
    let kernel = Kernel::default();
    let mut keeper = keeper(&kernel);
    keeper.obey(orders(&keeper));
    assert_eq!(kernel.did(), [""; 0]);
    kernel.refuse(1);
    let list = Arc::new(["45.10.1.1".parse::<crate::model::net::Plain>().unwrap().0].into_iter().collect::<Nets>());
    let lists = [("voipbl".to_owned(), Some(list))].into();
    keeper.obey(Orders { protected: Some(Vec::new()), lists, ..Orders::default() });
    assert_eq!(kernel.did(), [""; 0]);
    keeper.look();
    assert_eq!(kernel.did(), ["set up", "follow All", "put voipbl"]);
    keeper.look();
    assert_eq!(kernel.did(), [""; 0]);
}

#[test]
fn traffic_that_the_kernel_refuses_is_tried_again() {
    let kernel = Kernel::default();
    let mut keeper = keeper(&kernel);
    keeper.obey(Orders { protected: Some(Vec::new()), ..Orders::default() });
    kernel.did();
    kernel.refuse(1);
    keeper.obey(orders(&keeper));
    assert_eq!(kernel.did(), [""; 0]);
    keeper.look();
    assert_eq!(kernel.did(), ["follow All"]);
}
