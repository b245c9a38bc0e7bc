//! Bytes as hexadecimal digits, and back.

/// Lower-case digits, two per byte.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `N` bytes from `N` pairs of digits; `None` for anything else.
#[must_use]
pub fn unhex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_back_as_what_they_were() {
        assert_eq!(hex(&[0x00, 0xaf, 0x10]), "00af10");
        assert_eq!(unhex("00aF10"), Some([0x00, 0xaf, 0x10]));
        for wrong in ["", "00af1", "00af1g", "00af1000", "+0af10", "é0af1"] {
            assert_eq!(unhex::<3>(wrong), None, "{wrong}");
        }
    }
}
