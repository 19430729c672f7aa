//! Statements over many rows, in bounded chunks.
//!
//! A statement costs a round trip to the database's thread or server whatever it does, so a hundred thousand rows
//! go in some thousand statements. The SQL text is written for one row, like every other; here its last group is
//! repeated: `VALUES (…)`, or what stands in `IN (…)`. Chunks are powers of two, so that a text has few lengths and
//! is prepared once for each.
//!
//! This file must never build SQL from a value: it copies groups of placeholders and counts them on.

use cofferdam_types::{Error, Result};

use crate::{
    Tx,
    row::{Row, Value},
};

/// Placeholders of one statement at the most. SQLite refuses more than 32,766 and PostgreSQL more than 65,535; both
/// look names of placeholders up one after the other, so that much longer texts cost more than they save.
const PLACEHOLDERS: usize = 160;

impl Tx {
    /// Runs an `INSERT … VALUES (…)` for every row; returns how many rows it touched. All rows have the same width.
    pub(crate) async fn execute_many(&mut self, sql: &'static str, rows: Vec<Vec<Value>>) -> Result<u64> {
        let width = rows.first().map_or(1, Vec::len).max(1);
        let mut rows = rows.into_iter();
        let mut touched = 0;
        for size in chunks(rows.len(), PLACEHOLDERS / width) {
            let values: Vec<Value> = rows.by_ref().take(size).flatten().collect();
            touched += if size == 1 {
                self.execute(sql, values).await?
            } else {
                self.execute_text(repeated(sql, 0, width, size)?, values).await?
            };
        }
        Ok(touched)
    }

    /// Runs a statement with `IN (…)` for every value of `list`; returns how many rows it touched.
    pub(crate) async fn execute_in(
        &mut self,
        sql: &'static str,
        fixed: &[Value],
        list: Vec<Value>,
    ) -> Result<u64> {
        let mut list = list.into_iter();
        let mut touched = 0;
        for size in chunks(list.len(), PLACEHOLDERS) {
            let values: Vec<Value> = fixed.iter().cloned().chain(list.by_ref().take(size)).collect();
            touched += self.execute_text(repeated(sql, fixed.len(), 1, size)?, values).await?;
        }
        Ok(touched)
    }

    /// The rows that a query with `IN (…)` or `VALUES (…)` finds for the groups of `list`, in no order.
    pub(crate) async fn all_of(
        &mut self,
        sql: &'static str,
        fixed: &[Value],
        list: Vec<Vec<Value>>,
    ) -> Result<Vec<Row>> {
        let width = list.first().map_or(1, Vec::len).max(1);
        let mut list = list.into_iter();
        let mut found = Vec::new();
        for size in chunks(list.len(), PLACEHOLDERS / width) {
            let values: Vec<Value> =
                fixed.iter().cloned().chain(list.by_ref().take(size).flatten()).collect();
            found.extend(self.all_text(repeated(sql, fixed.len(), width, size)?, values).await?);
        }
        Ok(found)
    }
}

/// Powers of two, largest first, that add up to `count`, none larger than `limit`.
fn chunks(count: usize, limit: usize) -> Vec<usize> {
    let (mut left, mut size) = (count, 1 << limit.max(1).ilog2());
    let mut sizes = Vec::new();
    while left > 0 {
        if size <= left {
            sizes.push(size);
            left -= size;
        } else {
            size /= 2;
        }
    }
    sizes
}

/// The text with its group of `width` placeholders `times` times; the `fixed` ones before it keep their numbers.
fn repeated(sql: &str, fixed: usize, width: usize, times: usize) -> Result<String> {
    let (start, end) = group(sql).ok_or_else(|| {
        Error::internal("a statement without a group to repeat", std::io::Error::other(sql.to_owned()))
    })?;
    let (head, one, tail) = (&sql[..start], &sql[start..end], &sql[end..]);
    let mut text = String::with_capacity(sql.len() + times * (one.len() + 2 + 4 * width));
    text.push_str(head);
    for n in 0..times {
        if n > 0 {
            text.push_str(", ");
        }
        counted_on(&mut text, one, fixed, n * width);
    }
    text.push_str(tail);
    Ok(text)
}

/// Where the group stands: a parenthesis with its brackets after `VALUES`, the inside of one after `IN`.
fn group(sql: &str) -> Option<(usize, usize)> {
    let (open, whole) = match (sql.find("VALUES ("), sql.find("IN ($")) {
        (Some(at), _) => (at + "VALUES ".len(), true),
        (None, Some(at)) => (at + "IN ".len(), false),
        (None, None) => return None,
    };
    let mut depth = 0usize;
    for (at, byte) in sql.bytes().enumerate().skip(open) {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(if whole { (open, at + 1) } else { (open + 1, at) }),
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// Copies a group with `by` added to the numbers of its placeholders above `fixed`.
fn counted_on(text: &mut String, group: &str, fixed: usize, by: usize) {
    let mut rest = group;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at + 1);
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = after.split_at(digits);
        text.push_str(before);
        match number.parse::<usize>() {
            Ok(number) if number > fixed => text.push_str(&(number + by).to_string()),
            _ => text.push_str(number),
        }
        rest = after;
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_repeated_and_counted_on() {
        let insert = "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO NOTHING";
        assert_eq!(
            repeated(insert, 0, 2, 3).unwrap(),
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4), ($5, $6) ON CONFLICT (a) DO NOTHING"
        );
        let list = "SELECT a FROM t WHERE b = $1 AND a IN ($2) AND c IS NULL";
        assert_eq!(
            repeated(list, 1, 1, 3).unwrap(),
            "SELECT a FROM t WHERE b = $1 AND a IN ($2, $3, $4) AND c IS NULL"
        );
        let pairs = "WITH w (a, b) AS (VALUES (CAST($1 AS BIGINT), $2)) SELECT 1 FROM w";
        assert_eq!(
            repeated(pairs, 0, 2, 2).unwrap(),
            "WITH w (a, b) AS (VALUES (CAST($1 AS BIGINT), $2), (CAST($3 AS BIGINT), $4)) SELECT 1 FROM w"
        );
        assert!(repeated("SELECT 1", 0, 1, 2).is_err());
    }

    #[test]
    fn chunks_are_few_sizes_that_add_up() {
        assert_eq!(chunks(150, 70), [64, 64, 16, 4, 2]);
        assert_eq!(chunks(0, 70), Vec::<usize>::new());
        assert_eq!(chunks(3, 0), [1, 1, 1], "a row wider than the limit goes alone");
    }
}
