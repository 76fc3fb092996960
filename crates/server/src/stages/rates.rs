//! Rows a second of each table, sampled once a second over the last few.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use nowcast_model::TableName;
use nowcast_store::Snapshot;

/// Samples that an average spans: long enough to be steady, short enough to follow.
const SAMPLES: usize = 5;

/// What the page shows beside each table.
#[derive(Debug, Default)]
pub struct Rates {
    /// Held for one look-up; never across `.await`.
    tables: Mutex<HashMap<TableName, VecDeque<(i64, u64)>>>,
}

impl Rates {
    /// Takes a sample of every table.
    pub fn sample(&self, now_us: i64, snapshot: &Snapshot) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|name, _| snapshot.tables.contains_key(name));
        for (name, table) in &snapshot.tables {
            let samples = tables.entry(name.clone()).or_default();
            samples.push_back((now_us, table.rows()));
            while samples.len() > SAMPLES + 1 {
                samples.pop_front();
            }
        }
    }

    /// The average over the last samples; 0 for a table that is not known. A table that shrinks has 0.
    pub fn rows_per_second(&self, table: &TableName) -> f64 {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(samples) = tables.get(&table.key()) else { return 0.0 };
        match (samples.front(), samples.back()) {
            (Some((from_us, from)), Some((to_us, to))) if to_us > from_us => {
                to.saturating_sub(*from) as f64 * 1e6 / (to_us - from_us) as f64
            }
            _ => 0.0,
        }
    }
}
