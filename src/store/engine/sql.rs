//! The dialect: this is the only place for what engines spell differently. Statements use what SQLite and PostgreSQL have
//! in common: `$1`, `CAST(… AS BIGINT)`, `CASE`, `IS DISTINCT FROM`, `ON CONFLICT`, `RETURNING`, `UPDATE … FROM`; truth
//! values are 0 and 1.

use std::borrow::Cow;

use sqlx::AssertSqlSafe;

/// How statements take rows: as a JSON array, whose entries are `v`.
const ROWS_OF: &str = "rows_of(";

/// A statement for the engine. `rows_of($1)` stands for the entries of the JSON array `$1`, in a column `v`; an entry is an
/// array or an object, whose fields are read by `v ->> …` and cast.
///
/// `unhex(…)` makes bytes of hex digits; an engine without it gets a function of that name in its migration. A plus
/// before a number, or an empty text after a text, prevents the use of an index of that column.
///
/// Only fixed text and numbers belong in a statement: every value from outside is bound.
pub(in crate::store) fn sql(text: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(spell(text).into_owned())
}

// `jsonb_each`: `json_each` would write each entry as text, which would be parsed again for each of its fields.
fn spell(text: &str) -> Cow<'_, str> {
    if !text.contains(ROWS_OF) {
        return Cow::Borrowed(text);
    }
    let mut spelled = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(at) = rest.find(ROWS_OF) {
        let (before, after) = (&rest[..at], &rest[at + ROWS_OF.len()..]);
        let end = after.find(')').expect("rows_of has its closing bracket");
        spelled.push_str(before);
        spelled.push_str("(SELECT value AS v FROM jsonb_each(");
        spelled.push_str(&after[..end]);
        spelled.push_str("))");
        rest = &after[end + 1..];
    }
    spelled.push_str(rest);
    Cow::Owned(spelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_spelled_for_the_engine() {
        assert_eq!(spell("SELECT 1"), "SELECT 1");
        let two = spell("SELECT v FROM rows_of($1) AS r, rows_of($2) AS s");
        assert_eq!(
            two,
            "SELECT v FROM (SELECT value AS v FROM jsonb_each($1)) AS r, (SELECT value AS v FROM jsonb_each($2)) AS s"
        );
    }
}
