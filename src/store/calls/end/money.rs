//! How the ends of calls change the money of their batches, and that of the day on which they were sent.

use std::collections::HashMap;

use super::Change;
use crate::store::engine::db::{Conn, query};
use crate::store::{StoreError, calls::spend_limits::Bookings};

/// Frees what was reserved for calls that are over, and books their cost.
pub(super) async fn write(conn: &mut Conn, changes: &[Change<'_>]) -> Result<(), StoreError> {
    let mut batches: HashMap<i64, (i64, i64, i64)> = HashMap::new();
    let mut bookings = Bookings::default();
    for c in changes {
        let (account, environment) = (c.known.account.as_str(), c.known.environment);
        bookings.add(account, environment, c.known.sent_at, (-c.known.cost, -c.known.reserve));
        bookings.add(account, environment, c.sent_at(), (c.cost, c.reserve()));
        let (reserved, spent, longest) = batches.entry(c.known.batch).or_default();
        *reserved += c.reserve() - c.known.reserve;
        *spent += c.cost - c.known.cost;
        *longest = (*longest).max(c.units().unwrap_or(0));
    }
    bookings.write(conn).await?;
    for (batch, (reserved, spent, longest)) in batches {
        if (reserved, spent, longest) == (0, 0, 0) {
            continue;
        }
        query(
            r"-- money::write: neither can fail, for an answer that was paid for must be kept.
              UPDATE batches
              SET reserved = CASE WHEN reserved + $1 > 0 THEN reserved + $1 ELSE 0 END,
                spent = CASE WHEN spent + $2 < 0 THEN 0 WHEN spent > 9000000000000000000 THEN spent ELSE spent + $2 END,
                longest_units = CASE WHEN $3 > longest_units THEN $3 ELSE longest_units END
              WHERE id = $4",
        )
        .bind(reserved)
        .bind(spent)
        .bind(longest)
        .bind(batch)
        .later(conn)
        .await?;
    }
    Ok(())
}
