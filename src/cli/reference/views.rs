//! The page of the ledger's views.

use super::markdown::{code, table};
use crate::store::{LEDGER_VIEWS, ViewType};

const TEXT: &str = "# Views of the ledger
A ledger has four views for `psql`, DuckDB and BI tools. Their names, columns and types are the same in SQLite and
PostgreSQL, and part of the interface: columns may be added, and none changes its meaning. The tables behind them are not.

They can be read while wavebatch works. They hold no text, no transcript and no cell of a manifest but the key.

- A *time* is a text in UTC, as `2026-11-30T06:19:33.914Z`. It sorts as it is, and `CAST(… AS TIMESTAMP)` reads it.
- Money is US dollars at list price.
- A NULL is what does not apply, or is not known yet.

Open a file read-only (`sqlite3 'file:wavebatch.db?mode=ro'`). On a server, a role that may read is enough: `GRANT SELECT ON
ALL TABLES IN SCHEMA public TO reader`.

```sql
SELECT batch, state, count(*) AS lines, sum(audio_seconds) / 3600 AS hours, sum(cost_usd) AS usd
FROM v_lines
GROUP BY batch, state
ORDER BY batch, state;
```
";

pub(super) fn page() -> String {
    let mut page = TEXT.to_owned();
    for view in LEDGER_VIEWS {
        let kind = |of: ViewType| match of {
            ViewType::Text => "text",
            ViewType::Whole => "whole number",
            ViewType::Number => "number",
            ViewType::Time => "time",
        };
        let rows =
            view.columns.iter().map(|(name, of, meaning)| [code(name), kind(*of).to_owned(), (*meaning).to_owned()]);
        page.push_str(&format!(
            "\n## {}\n{}\n\n{}",
            code(view.name),
            view.row,
            table(["column", "type", "what it is"], rows)
        ));
    }
    page
}
