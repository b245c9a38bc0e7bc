//! G.711, the telephony codecs: 16-bit samples as eight bits on a logarithmic scale, µ-law and A-law.

/// The number that µ-law adds to a magnitude, so that every segment begins at a power of two.
const BIAS: i32 = 0x84;
/// The greatest magnitude that µ-law can represent.
const CLIP: i32 = 0x7FFF - BIAS;
/// A-law inverts every other bit, so that silence has edges for synchronization.
const EVEN_BITS: u8 = 0x55;

/// The sample of a µ-law code.
#[must_use]
pub const fn ulaw_decode(code: u8) -> i16 {
    let code = !code;
    let mantissa = (code & 0x0F) as i32;
    let magnitude = (((mantissa << 3) + BIAS) << ((code & 0x70) >> 4)) - BIAS;
    (if code & 0x80 == 0 { magnitude } else { -magnitude }) as i16
}

/// The µ-law code of a sample.
#[must_use]
pub const fn ulaw_encode(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (sample as i32).abs();
    let biased = if magnitude > CLIP { CLIP + BIAS } else { magnitude + BIAS };
    let exponent = biased.ilog2() - 7;
    let mantissa = (biased >> (exponent + 3)) as u8 & 0x0F;
    !(sign | (exponent as u8) << 4 | mantissa)
}

/// The sample of an A-law code.
#[must_use]
pub const fn alaw_decode(code: u8) -> i16 {
    let code = code ^ EVEN_BITS;
    let step = (((code & 0x0F) as i32) << 4) + 8;
    let exponent = (code & 0x70) >> 4;
    let magnitude = if exponent == 0 { step } else { (step + 0x100) << (exponent - 1) };
    (if code & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

/// The A-law code of a sample.
#[must_use]
pub const fn alaw_encode(sample: i16) -> u8 {
    // One's complement: A-law has no zero, and its negative half mirrors the positive one about -½.
    let (sign, magnitude) = if sample < 0 { (0, !sample) } else { (0x80, sample) };
    let exponent = if magnitude < 0x100 { 0 } else { magnitude.ilog2() - 7 };
    let shift = if exponent == 0 { 4 } else { exponent + 3 };
    (sign | (exponent as u8) << 4 | (magnitude >> shift) as u8 & 0x0F) ^ EVEN_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back() {
        for code in 0..=u8::MAX {
            assert_eq!(alaw_encode(alaw_decode(code)), code, "A-law {code:#04x}");
            let expected = if code == 0x7F { 0xFF } else { code };
            assert_eq!(ulaw_encode(ulaw_decode(code)), expected, "µ-law {code:#04x}");
        }
    }

    #[test]
    fn known_values() {
        let ulaw = [(0x00, -32_124), (0x80, 32_124), (0xFF, 0), (0x7F, 0), (0x0F, -16_764), (0xFE, 8), (0xEF, 132)];
        let alaw = [(0x2A, -32_256), (0xAA, 32_256), (0xD5, 8), (0x55, -8), (0x00, -5_504), (0xC5, 264)];
        for (code, sample) in ulaw {
            assert_eq!(ulaw_decode(code), sample, "µ-law {code:#04x}");
        }
        for (code, sample) in alaw {
            assert_eq!(alaw_decode(code), sample, "A-law {code:#04x}");
        }
        assert_eq!((ulaw_encode(0), alaw_encode(0)), (0xFF, 0xD5), "silence");
        assert_eq!((ulaw_encode(i16::MAX), ulaw_encode(i16::MIN)), (0x80, 0x00));
        assert_eq!((alaw_encode(i16::MAX), alaw_encode(i16::MIN)), (0xAA, 0x2A));
        // Decision values of the tables: 31 and 95 of 8,159 for µ-law, 32 and 64 of 4,096 for A-law.
        assert_eq!((ulaw_encode(31 * 4 - 1), ulaw_encode(31 * 4)), (0xF0, 0xEF));
        assert_eq!((ulaw_encode(95 * 4 - 1), ulaw_encode(95 * 4)), (0xE0, 0xDF));
        assert_eq!((alaw_encode(32 * 8 - 1), alaw_encode(32 * 8)), (0x8F ^ 0x55, 0x90 ^ 0x55));
        assert_eq!((alaw_encode(64 * 8 - 1), alaw_encode(64 * 8)), (0x9F ^ 0x55, 0xA0 ^ 0x55));
    }

    #[test]
    fn louder_never_becomes_softer_and_no_sample_moves_far() {
        for (name, encode, decode) in
            [("µ-law", ulaw_encode as fn(i16) -> u8, ulaw_decode as fn(u8) -> i16), ("A-law", alaw_encode, alaw_decode)]
        {
            let mut before = i32::MIN;
            for sample in i16::MIN..=i16::MAX {
                let got = i32::from(decode(encode(sample)));
                assert!(got >= before, "{name} {sample}");
                before = got;
                let (far, magnitude) = ((got - i32::from(sample)).abs(), i32::from(sample).abs());
                assert!(far <= 8 + magnitude / 31, "{name} {sample}: {got}");
            }
        }
    }
}
