//! Pictures are held against what a browser would hold against them: that they are XML, that
//! nothing stands outside, and that a long run is no larger than one can open.

use super::super::series::{LEFT_MAX, Record};
use super::super::story::{Terms, story};
use super::*;
use pannier_replica::doors::clock::Clock;

/// The tags of a document that is well-formed, each with its attributes; or what is wrong with it.
fn tags(xml: &str) -> Result<Vec<(String, Vec<(String, String)>)>, String> {
    let (mut open, mut tags, mut rest) = (Vec::new(), Vec::new(), xml);
    while let Some((text, after)) = rest.split_once('<') {
        sound(text)?;
        let (tag, after) = after.split_once('>').ok_or("a tag without an end")?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop().as_deref() != Some(name) {
                return Err(format!("</{name}> ends what is not open"));
            }
            continue;
        }
        let (tag, is_whole) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut words) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut attributes = Vec::new();
        while let Some((key, after)) = words.trim_start().split_once("=\"") {
            let (value, after) = after.split_once('"').ok_or("an open quote")?;
            sound(value)?;
            attributes.push((key.to_owned(), value.to_owned()));
            words = after;
        }
        if !words.is_empty() {
            return Err(format!("<{tag}>: {words:?}"));
        }
        if !is_whole {
            open.push(name.to_owned());
        }
        tags.push((name.to_owned(), attributes));
    }
    sound(rest)?;
    if open.is_empty() { Ok(tags) } else { Err(format!("open: {open:?}")) }
}

fn sound(text: &str) -> Result<(), String> {
    let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&apos;"];
    let bare = text.match_indices('&').find(|(at, _)| {
        let entity = &text[*at..];
        !known.iter().any(|known| entity.starts_with(known))
    });
    let control = text.chars().any(|letter| letter.is_control() && letter != '\n');
    if bare.is_some() || control || text.contains('>') {
        return Err(format!("{text:?}"));
    }
    Ok(())
}

/// What stands outside of the view box.
fn outside(xml: &str) -> Vec<String> {
    let tags = tags(xml).unwrap();
    let of = |attributes: &[(String, String)], key: &str| {
        let found = attributes.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let number = |attributes: &[(String, String)], key: &str| {
        let value = of(attributes, key);
        value.parse::<f64>().unwrap_or_else(|_| panic!("{key}={value:?} in {attributes:?}"))
    };
    let view = of(&tags[0].1, "viewBox");
    let view: Vec<f64> = view.split(' ').map(|word| word.parse().unwrap()).collect();
    let mut outside = Vec::new();
    for (name, with) in &tags {
        let at = |key: &str| number(with, key);
        let points = match name.as_str() {
            "rect" => {
                assert!(at("width") >= 0.0 && at("height") >= 0.0, "{with:?}");
                vec![(at("x"), at("y")), (at("x") + at("width"), at("y") + at("height"))]
            }
            "line" => vec![(at("x1"), at("y1")), (at("x2"), at("y2"))],
            "text" => vec![(at("x"), at("y") - at("font-size")), (at("x"), at("y"))],
            "path" => {
                let path = of(with, "d");
                let point = |word: &str| {
                    let (x, y) = word[1..].split_once(',').unwrap();
                    (x.parse().unwrap(), y.parse().unwrap())
                };
                path.split(' ').map(point).collect()
            }
            _ => Vec::new(),
        };
        let is_in = |(x, y): &(f64, f64)| {
            (0.0..=view[2]).contains(x) && (0.0..=view[3]).contains(y) && x.is_finite()
        };
        if !points.iter().all(is_in) {
            outside.push(format!("{name} {with:?}"));
        }
    }
    outside
}

fn told(seed: u64, length_ms: u64, replicas: usize) -> Vec<Span> {
    let terms = Terms { seed, length_ms, replicas, faults: Fault::ALL.to_vec() };
    let mut all = [story(&terms, false), story(&terms, true)].concat();
    all.sort_by_key(|trouble| trouble.at_ms);
    let span = |trouble: &super::super::story::Trouble| Span {
        what: trouble.what,
        from_ms: trouble.at_ms,
        to_ms: Some(trouble.at_ms + trouble.lasts_ms),
        words: "a < b & \"c\" \u{1} > 'd'".repeat(20),
    };
    all.iter().map(span).collect()
}

/// Something of everything, for so many seconds.
fn measured(seconds: u64, replicas: usize) -> Measured {
    let mut measured = Record::new(Clock::start(), replicas).measured();
    for second in 0..seconds {
        let (at_ms, wild) = (second * 1_000, (second * 7_919 % 1_000) as f64);
        measured.p50.put(at_ms, wild / 900.0);
        measured.p99.put(at_ms, wild * wild);
        measured.calls.put(at_ms, wild);
        measured.errors.put(at_ms, (second % 3) as f64);
        for at in 0..replicas {
            measured.there[at].put(at_ms, (second % 5).min(1) as f64);
            if second % 5 > 0 {
                measured.lag[at].put(at_ms, wild * at as f64);
            }
        }
        for at in 0..LEFT_MAX {
            let series = measured.left.entry(format!("stock <{at}> & co, of a long name"));
            series.or_insert(Series::new(super::super::series::Fold::Least)).put(at_ms, wild);
        }
    }
    measured
}

fn drawn(names: &[&str], spans: &[Span], measured: &Measured, end_ms: u64) -> String {
    let picture = Picture {
        title: "PASS  a <run> & \"more\"",
        passed: true,
        subtitle: &"all checks hold; ".repeat(30),
        names,
        spans,
        measured,
        mended_ms: end_ms.saturating_sub(3_000),
        end_ms,
    };
    picture.draw()
}

#[test]
fn a_run_is_drawn_whole_and_within_its_frame() {
    for (replicas, seconds) in [(2, 15), (3, 120), (9, 600)] {
        let names = &["eu", "us & <co>", "ap", "a name that is too long", "e", "f", "g", "h", "i"];
        let (names, spans) = (&names[..replicas], told(1, seconds * 1_000, replicas));
        let svg = drawn(names, &spans, &measured(seconds, replicas), seconds * 1_000);
        assert_eq!(outside(&svg), Vec::<String>::new());
        for fault in Fault::ALL.map(Fault::colour) {
            // Once in the key, and at least once as a bar.
            assert!(svg.matches(fault).count() >= 2, "{fault}");
        }
        for words in ["latency", "lag:", "errors, a", "units left", "all mended", "no answer"] {
            assert!(svg.contains(words), "{words}");
        }
        assert!(svg.contains("us &amp; &lt;co&gt;"));
    }
}

#[test]
fn a_run_in_which_nothing_happened_is_drawn_too() {
    let measured = Record::new(Clock::start(), 0).measured();
    for end_ms in [0, 1, 999, 5_000] {
        let svg = drawn(&[], &[], &measured, end_ms);
        assert_eq!(outside(&svg), Vec::<String>::new());
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(!svg.contains("units left"), "there are none");
    }
}

#[test]
fn hours_are_a_picture_of_bounded_size() {
    const HOURS: u64 = 4 * 3_600;
    let names = ["eu", "us", "ap", "sa", "af", "oc", "me", "in", "an"];
    let spans = told(2, HOURS * 1_000, 9);
    assert!(spans.len() > 3_000);
    let svg = drawn(&names, &spans, &measured(HOURS, 9), HOURS * 1_000);
    assert_eq!(outside(&svg), Vec::<String>::new());
    assert!(svg.len() < 2 << 20, "{} bytes", svg.len());
    assert!(svg.contains("1:00:00") && svg.contains("4:00:00"));
}

#[test]
fn a_trouble_without_an_end_lasts_until_there_is_nothing_more() {
    let span = Span { what: What::Full, from_ms: 5_000, to_ms: None, words: "full".into() };
    let svg = drawn(&["eu", "us"], &[span], &measured(10, 2), 10_000);
    assert!(svg.contains("(5.0 s to 10.0 s)"), "{svg}");
}

#[test]
fn every_trouble_has_a_lane() {
    for seed in 0..50 {
        for span in told(seed, 120_000, 3) {
            let lanes = lanes(span.what, 3);
            assert!(!lanes.is_empty() && lanes.iter().all(|lane| *lane < 5), "{:?}", span.what);
        }
    }
}

#[test]
fn what_is_not_xml_or_not_inside_would_be_found() {
    for bad in ["<a>", "<a></b>", "<a b=\"></a>", "<a>&</a>", "<a>\u{1}</a>", "<a>></a>"] {
        assert!(tags(bad).is_err(), "{bad}");
    }
    let out = "<svg viewBox=\"0 0 9 9\"><path d=\"M1,1 L10,1\"/></svg>";
    assert_eq!(outside(out).len(), 1);
}
