//! Opaque bytes (contexts, tokens) as text that survives shells, logs and copying.

/// Two digits a byte.
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The inverse; says what is wrong.
pub fn decode(text: &str) -> Result<Vec<u8>, String> {
    let digit = |at: usize, byte: u8| match (byte as char).to_digit(16) {
        Some(digit) => Ok(digit as u8),
        None => Err(format!("no hexadecimal digit at character {}", at + 1)),
    };
    let text = text.as_bytes();
    if !text.len().is_multiple_of(2) {
        return Err("an odd number of hexadecimal digits; it was cut".into());
    }
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| Ok(digit(at, text[at])? << 4 | digit(at + 1, text[at + 1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        bolero::check!().for_each(|bytes: &[u8]| {
            assert_eq!(decode(&encode(bytes)).as_deref(), Ok(bytes));
            if let Ok(text) = std::str::from_utf8(bytes)
                && let Ok(bytes) = decode(text)
            {
                assert_eq!(encode(&bytes), text.to_lowercase());
            }
        });
        assert!(decode("abc").is_err());
        assert_eq!(decode("ax").unwrap_err(), "no hexadecimal digit at character 2");
    }
}
