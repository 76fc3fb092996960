//! What holds for a transaction alone: READ ONLY, its isolation level, variables that are set for it.
//!
//! `transaction_read_only` and its like are session variables that BEGIN takes from `default_transaction_read_only` and
//! its like, and that go back to them when the transaction ends. A statement outside of a transaction is one of its
//! own, of the defaults' kind. The isolation level is a name that is kept: every statement reads one snapshot.

use nowcast_query::{SqlCode, SqlError};

use super::{Session, set};
use crate::transaction::Transaction;

/// What is a transaction's own, behind `transaction_` and `default_transaction_`.
const MODES: [&str; 3] = ["read_only", "isolation", "deferrable"];

/// Variables that a transaction set for itself, and what each was before.
#[derive(Debug, Clone, Default)]
pub struct Local(Vec<(String, Option<String>)>);

impl Session {
    /// BEGIN: rows wait from here on.
    pub fn begin(&mut self) {
        self.transaction.get_or_insert_with(|| Transaction::new(true)).explicit = true;
    }

    /// SET, RESET: what it is set to outlives the transaction.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.local.0.retain(|(local, _)| local != name);
        set(self, name, value);
        if !self.in_transaction() {
            self.follow_defaults();
        }
    }

    /// SET LOCAL. Outside of a transaction it ends with its own statement.
    pub fn set_local(&mut self, variables: &[(String, Option<String>)]) {
        if !self.in_transaction() {
            return;
        }
        for (name, value) in variables {
            self.keep_local(name);
            set(self, name, value.as_deref());
        }
    }

    /// Remembers what a variable is, to be brought back.
    pub fn keep_local(&mut self, name: &str) {
        if !self.local.0.iter().any(|(local, _)| local == name) {
            self.local.0.push((name.to_owned(), self.variables.get(name).cloned()));
        }
    }

    /// The variables that go back to what they were, for who follows them.
    pub fn take_local(&mut self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.local).0
    }

    /// The transaction has ended.
    pub fn end_local(&mut self) {
        for (name, value) in self.take_local() {
            set(self, &name, value.as_deref());
        }
        self.follow_defaults();
    }

    /// Between transactions a mode is what the next one begins with.
    pub fn follow_defaults(&mut self) {
        for mode in MODES {
            if let Some(value) = self.variables.get(&format!("default_transaction_{mode}")).cloned() {
                self.variables.insert(format!("transaction_{mode}"), value);
            }
        }
    }

    /// True behind BEGIN.
    pub fn in_transaction(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.explicit)
    }

    /// Refuses what changes something in a transaction that is READ ONLY.
    ///
    /// # Errors
    /// SQLSTATE 25006.
    pub(super) fn check_mode(&self, what: &str) -> Result<(), SqlError> {
        let of_transaction = self.in_transaction();
        let name = if of_transaction { "transaction_read_only" } else { "default_transaction_read_only" };
        let is_on =
            |value: &String| matches!(value.to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1");
        if !self.variables.get(name).is_some_and(is_on) {
            return Ok(());
        }
        let message = format!("cannot execute {what} in a read-only transaction");
        Err(SqlError::new(SqlCode::ReadOnly, message).hint(match of_transaction {
            true => "end the transaction, and BEGIN READ WRITE",
            false => "SET default_transaction_read_only = off, or BEGIN READ WRITE",
        }))
    }
}
