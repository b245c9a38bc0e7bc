//! The decimal digits by which a word is told.
//!
//! A word of letters, digits and common marks is spelled, so that any sandbox can read it. Other words, and words that are said too
//! fast, are told by their index in the [`WordTable`](super::WordTable) of the sandbox that speaks them.

use crate::sandbox::faults::mix;

/// How indexes are told: those of the first words, which are most likely the common ones, by fewer digits.
const INDEXES: [IndexCode; 2] = [
    IndexCode { words: 1 << 9, digits: 5, first: 30_000, checks: 39 },
    IndexCode { words: 1 << 16, digits: 7, first: 0, checks: 45 },
];
/// The first digits of an index with fewer digits, and those of a spelled word.
const SHORT: u8 = 3;
const SPELLED: u8 = 5;
/// The signs of spelled words; the last means that a capital follows.
const SIGNS: &[u8; 46] = b"abcdefghijklmnopqrstuvwxyz0123456789.,?!'-:;\"^";
const CAPITAL: u8 = 45;
/// The longest spelled word, in signs.
const MAX_SIGNS: usize = 49;
/// Digits before and after the signs: their number, and two digits of a checksum.
const AROUND: usize = 4;

/// What a burst says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// The word itself.
    Word(String),
    /// The word with this index.
    Index(u16),
}

/// How an index becomes digits.
struct IndexCode {
    /// Greater than every index.
    words: u32,
    digits: usize,
    /// The number of index 0, without its checksum.
    first: u32,
    /// How many checksums there are.
    checks: u32,
}

impl IndexCode {
    fn check(&self, index: u32) -> u32 {
        (mix(u64::from(index)) % u64::from(self.checks)) as u32
    }

    fn read(&self, number: u32) -> Option<u16> {
        let number = number.checked_sub(self.first)?;
        let index = number / self.checks;
        let is_whole = index < self.words && self.check(index) == number % self.checks;
        is_whole.then(|| u16::try_from(index).ok())?
    }
}

/// The digits of an index.
pub(super) fn of_index(index: u16) -> Vec<u8> {
    let index = u32::from(index);
    let code = &INDEXES[usize::from(index >= INDEXES[0].words)];
    let mut value = code.first + index * code.checks + code.check(index);
    let mut digits = vec![0; code.digits];
    for digit in digits.iter_mut().rev() {
        *digit = (value % 10) as u8;
        value /= 10;
    }
    whiten(&mut digits, 1);
    digits
}

/// The digits of a spelled word; `None` if it has other signs, or too many.
pub(super) fn of_word(word: &str) -> Option<Vec<u8>> {
    let mut signs = Vec::with_capacity(word.len() + 1);
    for c in word.bytes() {
        if c.is_ascii_uppercase() {
            signs.push(CAPITAL);
        }
        let at = SIGNS.iter().position(|sign| *sign == c.to_ascii_lowercase())?;
        signs.push(at as u8);
    }
    let usable = (1..=MAX_SIGNS).contains(&signs.len()) && !word.contains('^');
    usable.then(|| {
        let mut digits = vec![SPELLED + (signs.len() / 10) as u8, (signs.len() % 10) as u8];
        for group in signs.chunks(3) {
            let value = group.iter().fold(0, |value, sign| value * 46 + u32::from(*sign));
            let width = digits_of(group.len());
            digits.extend((0..width).rev().map(|at| (value / 10u32.pow(at as u32) % 10) as u8));
        }
        let check = signs_check(&signs);
        digits.extend([check / 10, check % 10]);
        whiten(&mut digits, 1);
        digits
    })
}

/// How many digits the burst has that begins with these two; `None` if no burst does.
pub(super) fn len_of(first: u8, second: u8) -> Option<usize> {
    let mut head = [first, second];
    whiten(&mut head, 9);
    if head[0] < SPELLED {
        return Some(INDEXES[usize::from(head[0] < SHORT)].digits);
    }
    let signs = usize::from(head[0] - SPELLED) * 10 + usize::from(head[1]);
    (1..=MAX_SIGNS).contains(&signs).then(|| AROUND + signs / 3 * 5 + digits_of(signs % 3))
}

/// What the digits of a whole burst say; `None` if they are damaged.
pub(super) fn read(digits: &[u8]) -> Option<Told> {
    let mut digits = digits.to_vec();
    whiten(&mut digits, 9);
    let value = |digits: &[u8]| digits.iter().fold(0, |value, digit| value * 10 + u32::from(*digit));
    if *digits.first()? < SPELLED {
        let code = &INDEXES[usize::from(digits[0] < SHORT)];
        return code.read(value(&digits)).map(Told::Index);
    }
    let body = digits.get(2..digits.len().checked_sub(2)?)?;
    let mut signs = Vec::new();
    for group in body.chunks(5) {
        let count = match group.len() {
            5 => 3,
            4 => 2,
            2 => 1,
            _ => return None,
        };
        let value = value(group);
        signs.extend((0..count).rev().map(|at| value / 46u32.pow(at) % 46).map(|sign| sign as u8));
        if value >= 46u32.pow(count) {
            return None;
        }
    }
    let check = value(&digits[digits.len() - 2..]);
    (check == u32::from(signs_check(&signs))).then(|| Told::Word(spelled(&signs)))
}

fn spelled(signs: &[u8]) -> String {
    let mut capital = false;
    let mut word = String::with_capacity(signs.len());
    for sign in signs {
        let c = char::from(SIGNS[usize::from(*sign)]);
        match *sign {
            CAPITAL => {}
            _ if capital => word.push(c.to_ascii_uppercase()),
            _ => word.push(c),
        }
        capital = *sign == CAPITAL;
    }
    word
}

/// The digits of one, two or three signs.
const fn digits_of(signs: usize) -> usize {
    match signs {
        0 => 0,
        1 => 2,
        2 => 4,
        _ => 5,
    }
}

fn signs_check(signs: &[u8]) -> u8 {
    (signs.iter().fold(signs.len() as u64, |sum, sign| mix(sum ^ u64::from(*sign))) % 100) as u8
}

/// Adds another number to each digit, so that equal ones do not become one long tone; 9 times is back again.
fn whiten(digits: &mut [u8], times: u8) {
    for (at, digit) in digits.iter_mut().enumerate() {
        *digit = (*digit + times * ((at * 3 + 1) % 10) as u8) % 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_and_index_comes_back() {
        for word in ["a", "It", "times,", "Hello!", "don't", "well-known", "3.14", "IBM", "\"Who?\"", &"x".repeat(49)] {
            let digits = of_word(word).unwrap();
            assert_eq!(len_of(digits[0], digits[1]), Some(digits.len()), "{word}");
            assert_eq!(read(&digits), Some(Told::Word(word.to_owned())));
        }
        for index in [0, 1, 7, 511, 512, 4_999, u16::MAX] {
            let digits = of_index(index);
            assert_eq!(digits.len(), if index < 512 { 5 } else { 7 });
            assert_eq!(len_of(digits[0], digits[1]), Some(digits.len()));
            assert_eq!(read(&digits), Some(Told::Index(index)));
        }
        for other in ["", "Grüße", "π", "a^b", "नमस्ते", &"x".repeat(50)] {
            assert_eq!(of_word(other), None, "{other}");
        }
    }

    #[test]
    fn one_wrong_digit_is_noticed() {
        let mut unnoticed = 0;
        let mut tried = 0;
        for digits in [of_word("believe,").unwrap(), of_index(4_711), of_index(47)] {
            for at in 2..digits.len() {
                for wrong in 1..10 {
                    let mut damaged = digits.clone();
                    damaged[at] = (damaged[at] + wrong) % 10;
                    tried += 1;
                    unnoticed += u32::from(read(&damaged).is_some());
                }
            }
        }
        assert!(unnoticed * 20 < tried, "{unnoticed} of {tried}");
    }
}
