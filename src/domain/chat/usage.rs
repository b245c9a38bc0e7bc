//! Tokens: what a call used, and what a text will use, about.

use serde::{Deserialize, Serialize};

/// The tokens of one call, or of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens that were read, the cached ones among them.
    pub prompt_tokens: u64,
    /// Those of them that were in the vendor's cache of beginnings.
    pub cached_tokens: u64,
    /// Tokens that were written.
    pub completion_tokens: u64,
}

impl Usage {
    /// Whether no tokens are known.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.prompt_tokens == 0 && self.completion_tokens == 0
    }

    /// Tokens that were read and not cached.
    #[must_use]
    pub const fn fresh_tokens(&self) -> u64 {
        self.prompt_tokens.saturating_sub(self.cached_tokens)
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(other.cached_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(other.completion_tokens);
    }
}

/// How many tokens a text has, about: nobody knows the vendor's tokens. Four letters of English make one; of other scripts a
/// letter makes up to one.
#[must_use]
pub fn estimated_tokens(text: &str) -> u64 {
    let (mut ascii, mut others) = (0_u64, 0_u64);
    for c in text.chars() {
        if c.is_ascii() { ascii += 1 } else { others += 1 }
    }
    ascii.div_ceil(4) + (others * 2).div_ceil(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_estimated_by_script() {
        assert_eq!(estimated_tokens(""), 0);
        assert_eq!(estimated_tokens("a"), 1);
        assert_eq!(estimated_tokens(&"word ".repeat(400)), 500);
        assert_eq!(estimated_tokens("नमस्ते"), 4, "six letters that are not English");
    }

    #[test]
    fn usage_adds_up() {
        let mut all = Usage { prompt_tokens: 10, cached_tokens: 4, completion_tokens: 1 };
        all += Usage { prompt_tokens: 5, cached_tokens: 5, completion_tokens: 2 };
        assert_eq!(all, Usage { prompt_tokens: 15, cached_tokens: 9, completion_tokens: 3 });
        assert_eq!(all.fresh_tokens(), 6);
        assert_eq!(Usage { cached_tokens: 9, ..Usage::default() }.fresh_tokens(), 0, "never below zero");
    }
}
