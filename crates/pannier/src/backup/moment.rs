//! Moments, as people write them: milliseconds since 1970, or the day and time in UTC.

const DAY_MS: u64 = 86_400_000;

/// `2026-03-01T12:30:00Z`, with or without fractions of a second; or milliseconds since 1970.
pub fn parse(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut parts = date.split('-').map(|part| number(part, if part.len() == 4 { 4 } else { 2 }));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let (time, millis) = match time.split_once('.') {
        None => (time, 0),
        Some((time, fraction)) if (1..=9).contains(&fraction.len()) => {
            let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
            number(fraction, fraction.len())?;
            (time, number(&padded, 3)?)
        }
        Some(_) => return None,
    };
    let mut clock = time.split(':').map(|part| number(part, 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let is_date = (1970..=9_999).contains(&year) && (1..=12).contains(&month);
    if !is_date || parts.next().is_some() || clock.next().is_some() {
        return None;
    }
    if !(1..=days_in(year, month)).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_before(year, month) + day - 1;
    Some(days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1_000 + millis)
}

/// So many digits, and nothing else.
fn number(text: &str, digits: usize) -> Option<u64> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_before(year: u64, month: u64) -> u64 {
    let years: u64 = (1970..year).map(|it| if is_leap(it) { 366 } else { 365 }).sum();
    years + (1..month).map(|it| days_in(year, it)).sum::<u64>()
}

/// As `parse` reads it.
pub fn show(ms: u64) -> String {
    let (mut days, rest) = (ms / DAY_MS, ms % DAY_MS);
    let (mut year, mut month) = (1970, 1);
    // Beyond the year 9999 nobody can read it anyway.
    while year < 10_000 && days >= if is_leap(year) { 366 } else { 365 } {
        days -= if is_leap(year) { 366 } else { 365 };
        year += 1;
    }
    while month < 12 && days >= days_in(year, month) {
        days -= days_in(year, month);
        month += 1;
    }
    let (seconds, millis) = (rest / 1_000, rest % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let day = days + 1;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_shown() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse("2024-02-29T23:59:59.5Z"), Some(1_709_251_199_500));
        assert_eq!(show(1_709_251_199_500), "2024-02-29T23:59:59.500Z");
        assert_eq!(parse("1709251199500"), Some(1_709_251_199_500));
        for ms in (0..4_000_000_000_000).step_by(86_399_999_983) {
            assert_eq!(parse(&show(ms)), Some(ms), "{}", show(ms));
        }
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for bad in [
            "",
            "now",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-2-1T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+01:00",
            "2024-01-01 00:00:00Z",
            "-5",
            "99999999999999999999999",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
