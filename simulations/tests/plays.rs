//! Scenarios that everybody asks for first, as plays. Every checker of the simulator looks on; the
//! end is looked at besides, and each play must have met what it is about.
#![allow(clippy::expect_used, reason = "a play that breaks has failed the test")]

use pannier_simulations::play::{BREAD, MILK, Play, TEA};
use pannier_simulations::{Canary, Mark};

const REGIONS: [&str; 3] = ["eu", "us", "ap"];

/// Her region dies between the last add and the checkout. She pays for what she chose, elsewhere.
#[test]
fn a_shopper_fails_over_in_mid_checkout() {
    let mut play = Play::in_regions(&REGIONS);
    let ada = play.person("ada", "eu");
    play.at(1.0, ada.adds(2, TEA));
    play.at(1.5, ada.adds(1, MILK));
    play.at(2.0, ada.looks());
    play.at(2.5, ada.adds(1, BREAD));
    play.at(2.9, play.loses("eu", 8.0));
    play.at(3.0, ada.looks());
    play.at(4.0, ada.takes(1, TEA));
    play.at(4.5, ada.looks());
    let end = play.to_the_end();
    assert_eq!(end.cart(0), [(TEA, 1), (MILK, 1), (BREAD, 1)]);
    assert!(end.met(Mark::Crash) > 0 && end.met(Mark::HomeLost) > 0, "she was moved");
}

/// What she had just added was synced at one replica only. It is not lost with it, and until it is
/// back nobody shows her a cart without it; and with the token ignored, somebody would.
#[test]
fn what_only_the_dead_region_has_is_waited_for() {
    let mut play = Play::in_regions(&REGIONS);
    let ada = play.person("ada", "eu");
    play.at(0.5, play.cuts_off("eu", 1.0));
    play.at(1.0, ada.adds(2, TEA));
    play.at(1.4, play.loses("eu", 2.0));
    play.at(1.6, ada.looks());
    let end = play.to_the_end();
    assert_eq!(end.cart(0), [(TEA, 2)]);
    assert!(end.met(Mark::SessionWaited) > 0, "somebody was asked who lacked it");
    let ignored = Canary::Protocol(pannier_replica::protocol::Canary::SessionIgnored);
    let violation = play.played(ignored).expect_err("a token that is ignored is seen here");
    assert_eq!(violation.checker, "sessions");
}

/// Three people, three regions, one cart; one region is cut off meanwhile. Nobody's add is lost,
/// nobody's removal undone, and what the remover had not seen stays.
#[test]
fn a_family_edits_one_cart_in_three_regions() {
    let mut play = Play::in_regions(&REGIONS);
    let (mum, dad) = (play.person("mum", "eu"), play.person("dad", "us"));
    let kid = play.person("kid", "ap");
    play.at(1.0, mum.adds(2, MILK));
    play.at(1.2, dad.adds(1, BREAD));
    play.at(3.0, kid.looks());
    play.at(4.0, play.cuts_off("ap", 5.0));
    // The kid has seen two of milk and one of bread; meanwhile there is more.
    play.at(4.5, dad.adds(3, MILK));
    play.at(4.6, mum.looks());
    play.at(5.0, kid.removes(MILK));
    play.at(5.5, kid.adds(5, TEA));
    play.at(6.0, mum.takes(1, BREAD));
    let end = play.to_the_end();
    assert_eq!(end.cart(0), [(TEA, 5), (MILK, 3)]);
    assert!(end.met(Mark::MessageCut) > 0);
}

/// A region is away for a day. Shops go on; when it is back, it has everything within seconds.
#[test]
fn a_region_is_lost_for_a_day() {
    let mut play = Play::in_regions(&REGIONS);
    let (ada, bob) = (play.person("ada", "eu"), play.person("bob", "ap"));
    // A day of ticks a hundredth of a second apart would be nothing but ticks.
    play.options().tick_us = (1_000_000, 1_000_000);
    play.options().knobs.gossip_us = 10_000_000;
    play.at(1.0, bob.adds(1, TEA));
    play.at(30.0, bob.looks());
    play.at(60.0, play.loses("ap", 86_400.0));
    for hour in 0..24 {
        let second = 100.0 + 3_600.0 * f64::from(hour);
        play.at(second, ada.adds(1, MILK));
        play.at(second + 60.0, ada.counts());
        // His region is down: his gateway finds another.
        play.at(second + 120.0, bob.adds(1, BREAD));
    }
    play.lasts(86_500.0);
    let end = play.to_the_end();
    assert_eq!(end.cart(0), [(TEA, 1), (MILK, 24), (BREAD, 24)]);
    assert_eq!(end.count(0), 24);
}

/// The busiest day, and the cable between two regions comes and goes. Every click counts once.
#[test]
fn black_friday_with_a_flapping_link() {
    let mut play = Play::in_regions(&REGIONS);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let crowd: Vec<_> = names.iter().zip(REGIONS.iter().cycle()).collect();
    let crowd: Vec<_> = crowd.into_iter().map(|(name, region)| play.person(name, region)).collect();
    play.options().knobs.round_ops = 8;
    play.at(0.5, play.flaps("eu", "us", 15.0));
    play.at(6.0, play.flaps("us", "ap", 6.0));
    let mut clicks = 0;
    for moment in 0..300_u32 {
        let person = crowd[moment as usize % crowd.len()];
        let second = 1.0 + f64::from(moment) * 0.05;
        let what = match moment % 3 {
            0 => person.adds(1, TEA),
            _ => person.counts(),
        };
        clicks += i128::from(moment % 3 != 0);
        play.at(second, what);
    }
    let end = play.to_the_end();
    assert_eq!(end.cart(0), [(TEA, 100)]);
    assert_eq!(end.count(0), clicks);
    assert!(end.met(Mark::Flapped) > 20 && end.met(Mark::MessageCut) > 100);
}

/// One replica's clock is a day ahead. What was set there wins over what was set at the same time;
/// who has seen it and sets again wins over it, whatever the clocks say.
#[test]
fn a_clock_is_a_day_ahead() {
    let mut play = Play::in_regions(&REGIONS);
    let (ada, bob) = (play.person("ada", "us"), play.person("bob", "eu"));
    play.at(0.5, play.clock_jumps("us", 86_400));
    play.at(0.8, ada.looks());
    play.at(0.8, bob.looks());
    play.at(1.0, ada.sets(TEA, 7));
    play.at(1.01, bob.sets(TEA, 3));
    play.at(3.0, bob.looks());
    play.at(4.0, bob.sets(MILK, 2));
    let end = play.to_the_end();
    assert_eq!(end.cart(0), [(TEA, 7), (MILK, 2)], "the later stamp of two that ran at once");
    play.at(5.0, bob.sets(TEA, 4));
    let end = play.to_the_end();
    assert_eq!(end.cart(0), [(TEA, 4), (MILK, 2)], "he had seen hers");
    assert!(end.met(Mark::ClockJumped) > 0);
    assert!(end.met(Mark::ClockSkewAlarm) > 0, "and the operator is told");
}
