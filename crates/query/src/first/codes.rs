//! Keys as numbers.

use std::sync::Arc;

use arrow::{
    array::ArrayRef,
    datatypes::{DataType, Field, Schema},
};
use datafusion::{
    common::Result,
    execution::memory_pool::MemoryPool,
    physical_plan::aggregates::{
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};

use crate::symbols::{Symbols, is_symbol};

/// Numbers the keys that come, from 0 on. NULL is a key like any other.
pub(super) struct Codes {
    /// For each key column that holds symbols.
    symbols: Vec<Option<Symbols>>,
    groups: Box<dyn GroupValues>,
}

impl Codes {
    pub(super) fn new(types: &[DataType], pool: &Arc<dyn MemoryPool>) -> Result<Codes> {
        let fields = types.iter().enumerate().map(|(at, ty)| {
            let ty = if is_symbol(ty) { DataType::UInt32 } else { ty.clone() };
            Field::new(at.to_string(), ty, true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Codes {
            symbols: types.iter().map(|ty| is_symbol(ty).then(|| Symbols::new(pool))).collect(),
            groups: new_group_values(schema, &GroupOrdering::None)?,
        })
    }

    /// The number of each row's key.
    pub(super) fn number(&mut self, keys: &[ArrayRef], numbers: &mut Vec<usize>) -> Result<()> {
        let columns = keys.iter().zip(&self.symbols).map(|(key, symbols)| {
            Ok(match symbols {
                Some(symbols) => Arc::new(symbols.numbers(key)?) as ArrayRef,
                None => key.clone(),
            })
        });
        self.groups.intern(&columns.collect::<Result<Vec<_>>>()?, numbers)
    }

    /// Keys there are.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Bytes held beside the symbols, by estimate.
    pub(super) fn bytes(&self) -> usize {
        self.groups.size()
    }
}
