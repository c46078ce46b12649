//! The word that was meant, for a word that nobody knows.

/// Of `known`, the name that takes the fewest edits. Names have sections (`protocol.gossip_us`): a
/// right name in the wrong section is nearer than a wrong name in the right one.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let last = |name: &str| name.rsplit('.').next().map_or(0, str::len);
    known.into_iter().min_by_key(|known| {
        let own = &name[name.len() - last(name)..];
        (edits(own, &known[known.len() - last(known)..]), edits(name, known))
    })
}

/// The same for a variable, whose sections are not marked: `drum_beets` and `beats` both mean
/// `drum.beats`.
pub fn nearest_variable<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    known.into_iter().min_by_key(|known| {
        let own = known.rsplit('.').next().unwrap_or_default();
        edits(name, &known.replace('.', "_")).min(edits(name, own))
    })
}

/// How many bytes must be put in, left out or changed (Levenshtein 1966).
fn edits(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, count) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!((edits(a, b), edits(b, a)), (count, count), "{a} {b}");
        }
    }

    #[test]
    fn the_name_counts_before_its_section() {
        let known = ["tick_ms", "protocol.gossip_us", "fjall.workers"];
        let meant = |name| nearest(name, known);
        assert_eq!(meant("gossip_us"), Some("protocol.gossip_us"));
        assert_eq!(meant("fjall.gossip_u"), Some("protocol.gossip_us"));
        assert_eq!(meant("tik_ms"), Some("tick_ms"));
        assert_eq!(nearest("x", []), None);
        let meant = |name| nearest_variable(name, known);
        assert_eq!(meant("gosip_us"), Some("protocol.gossip_us"));
        assert_eq!(meant("fjall_worker"), Some("fjall.workers"));
    }
}
