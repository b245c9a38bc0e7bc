//! The dialect: this is the only place for what engines spell differently. Statements use what SQLite and PostgreSQL have
//! in common: `$1`, `CAST(… AS BIGINT)`, `CASE`, `IS DISTINCT FROM`, `ON CONFLICT`, `RETURNING`, `UPDATE … FROM`; truth
//! values are 0 and 1.
//!
//! `rows_of($1)` stands for the entries of the JSON array `$1`, in a column `v`; an entry is an array or an object, whose
//! fields are read by `v ->> …` and cast.
//!
//! `unhex(…)` makes bytes of hex digits; PostgreSQL gets a function of that name in its migration. A plus before a number,
//! or an empty text after a text, prevents the use of an index of that column.

use std::borrow::Cow;

use crate::store::engine::db::Engine;

/// How statements take rows: as a JSON array, whose entries are `v`.
const ROWS_OF: &str = "rows_of(";

/// A statement as the engine spells it.
// `jsonb_each`: `json_each` would write each entry as text, which would be parsed again for each of its fields.
pub(super) fn spell(engine: Engine, text: Cow<'static, str>) -> Cow<'static, str> {
    if !text.contains(ROWS_OF) {
        return text;
    }
    let (before_rows, after_rows) = match engine {
        Engine::Sqlite => ("(SELECT value AS v FROM jsonb_each(", "))"),
        Engine::Postgres => ("(SELECT value AS v FROM jsonb_array_elements(CAST(", " AS JSONB)))"),
    };
    let mut spelled = String::with_capacity(text.len() + 96);
    let mut rest = &*text;
    while let Some(at) = rest.find(ROWS_OF) {
        let (before, after) = (&rest[..at], &rest[at + ROWS_OF.len()..]);
        let end = after.find(')').expect("rows_of has its closing bracket");
        spelled.push_str(before);
        spelled.push_str(before_rows);
        spelled.push_str(&after[..end]);
        spelled.push_str(after_rows);
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
        assert_eq!(spell(Engine::Sqlite, "SELECT 1".into()), "SELECT 1");
        let two = || "SELECT v FROM rows_of($1) AS r, rows_of($2) AS s".into();
        assert_eq!(
            spell(Engine::Sqlite, two()),
            "SELECT v FROM (SELECT value AS v FROM jsonb_each($1)) AS r, (SELECT value AS v FROM jsonb_each($2)) AS s"
        );
        assert_eq!(
            spell(Engine::Postgres, two()),
            "SELECT v FROM (SELECT value AS v FROM jsonb_array_elements(CAST($1 AS JSONB))) AS r, \
             (SELECT value AS v FROM jsonb_array_elements(CAST($2 AS JSONB))) AS s"
        );
    }
}
