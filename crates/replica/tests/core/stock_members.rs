//! Stocks, while members come and go.

use crate::rig::cluster::{Cluster, join, leave, member};
use crate::stock::{want, wanted_by};
use orset::stock::{Ask, Outcome, Refused, Terms};
use pannier_replica::protocol::Refusal;
use pannier_replica::protocol::membership::{Place, Standing};

/// Who leaves takes no units with it.
#[test]
fn who_is_to_leave_lends_its_units_away_and_waits_for_its_holds() {
    let mut it = Cluster::new(3);
    (0..3).for_each(|at| it.restock(at, 4));
    let op = it.op();
    it.asks(2, op, Ask::Hold { want: want(1), ttl_ms: 4_000 }).unwrap();
    it.agree(&[0, 1, 2]);
    it.wishes(0, &leave(2));
    it.run(2_500);
    assert_eq!(it.place(2), Place::Member, "it holds something still");
    assert_eq!(it.sheet(2).accounts[2].1.available, 0);
    assert_eq!(it.ends(0, &leave(2)), Standing::Done);
    it.agree(&[0, 1]);
    let sheet = it.sheet(0);
    assert_eq!((sheet.available, sheet.held), (12, 0));
    for n in 0..12 {
        assert_eq!(it.buys(n % 2, 1), Ok(Outcome::Committed));
    }
}

/// Customers move to other keepers when a member comes; none gets its limit at both.
#[test]
fn a_customer_has_no_more_than_the_limit_after_a_change_of_members() {
    let customers: Vec<String> = (0..12).map(|n| format!("c{n}")).collect();
    let mut it = Cluster::new(2);
    (0..2).for_each(|at| it.restock(at, 100));
    let op = it.op();
    it.asks(0, op, Ask::Agree(Terms { limit: 1, tentative: false, peers: 0 })).unwrap();
    it.agree(&[0, 1]);
    it.open(&[member(0), member(1)]);
    it.wishes(0, &join(2));
    let (mut got, mut waited) = (vec![0; customers.len()], 0);
    for round in 0..400 {
        // What the keepers of before let pass now may not be known to those who come after.
        let at = round % 2;
        for (n, customer) in customers.iter().enumerate() {
            if round % 40 != n * 3 {
                continue;
            }
            let op = it.op();
            match it.asks(at, op, Ask::Commit { want: wanted_by(customer.as_bytes()) }) {
                Ok(Outcome::Committed) => got[n] += 1,
                Ok(Outcome::Unavailable { .. }) => waited += 1,
                Err(Refusal::Stock(Refused::OverLimit { .. })) => {}
                other => panic!("{other:?}"),
            }
        }
        it.step();
    }
    assert_eq!(it.number(0), 1, "the third has come");
    assert_eq!(got, vec![1; customers.len()], "and {waited} were asked to come again");
}
