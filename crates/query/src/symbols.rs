//! Texts as numbers, for the length of a query.
//!
//! Columns of symbols are dictionaries, and each row group of a part has one of its own: equal texts have different keys
//! there. Here each text has one number, which can be hashed and compared at the cost of a number. The texts of a
//! dictionary are looked up once, not once for each row.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::AHashMap;
use arrow::{
    array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Array, StringArray, UInt32Array},
    datatypes::{DataType, Int32Type},
};
use datafusion::{
    common::Result,
    execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation},
};

/// Dictionaries whose numbers are remembered: some for each thread that reads.
const REMEMBERED_MAX: usize = 16;

/// The number of no text.
const NONE: u32 = u32::MAX;

/// True for the form that symbols have.
pub(crate) fn is_symbol(ty: &DataType) -> bool {
    matches!(ty, DataType::Dictionary(key, value) if **key == DataType::Int32 && **value == DataType::Utf8)
}

/// The texts of one column, numbered as they come.
#[derive(Debug)]
pub(crate) struct Symbols {
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    numbers: AHashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
    bytes: usize,
    /// The dictionaries that came last, the newest at the end, and the number of each text of theirs.
    remembered: Vec<(ArrayRef, Arc<[u32]>)>,
    reservation: MemoryReservation,
}

impl Symbols {
    /// No texts yet; what is held counts as `pool`'s.
    pub(crate) fn new(pool: &Arc<dyn MemoryPool>) -> Symbols {
        let reservation = MemoryConsumer::new("Symbols").register(pool);
        let known = Known {
            numbers: AHashMap::new(),
            texts: Vec::new(),
            bytes: 0,
            remembered: Vec::new(),
            reservation,
        };
        Symbols { known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere leaves numbers that nobody was told.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of each row's text; NULL for NULL. `column` [is one of symbols](is_symbol).
    ///
    /// # Errors
    /// The texts take more memory than there is.
    pub(crate) fn numbers(&self, column: &ArrayRef) -> Result<UInt32Array> {
        let column = column.as_dictionary::<Int32Type>();
        let numbers = self.known().of_dictionary(column.values())?;
        let keys = column.keys();
        let number = |key: &i32| usize::try_from(*key).ok().and_then(|key| numbers.get(key)).copied();
        if numbers.contains(&NONE) {
            let number = |key: Option<i32>| number(&key?).filter(|number| *number != NONE);
            return Ok(keys.iter().map(number).collect());
        }
        // The key of a NULL may be anything.
        let values: Vec<u32> = keys.values().iter().map(|key| number(key).unwrap_or(0)).collect();
        Ok(UInt32Array::new(values.into(), keys.nulls().cloned()))
    }

    /// The texts that have `numbers`, in a dictionary that holds no others.
    pub(crate) fn texts(&self, numbers: &UInt32Array) -> Result<ArrayRef> {
        let known = self.known();
        let mut keys_of = AHashMap::new();
        let mut texts: Vec<&str> = Vec::new();
        let mut key = |number: u32| {
            let text = known.texts.get(number as usize)?;
            Some(*keys_of.entry(number).or_insert_with(|| {
                texts.push(text);
                texts.len() as i32 - 1
            }))
        };
        let keys: Int32Array = numbers.iter().map(|number| number.and_then(&mut key)).collect();
        Ok(Arc::new(DictionaryArray::try_new(keys, Arc::new(StringArray::from(texts)))?))
    }
}

impl Known {
    fn of_dictionary(&mut self, values: &ArrayRef) -> Result<Arc<[u32]>> {
        let same = |(known, _): &&(ArrayRef, Arc<[u32]>)| {
            let (a, b) = (known.as_string::<i32>(), values.as_string::<i32>());
            a.len() == b.len()
                && a.values().as_ptr() == b.values().as_ptr()
                && a.value_offsets().as_ptr() == b.value_offsets().as_ptr()
        };
        if let Some((_, numbers)) = self.remembered.iter().rev().find(same) {
            return Ok(numbers.clone());
        }
        let texts = values.as_string::<i32>();
        let numbers: Arc<[u32]> =
            texts.iter().map(|text| text.map_or(NONE, |text| self.number(text))).collect();
        if self.remembered.len() == REMEMBERED_MAX {
            self.remembered.remove(0);
        }
        self.remembered.push((values.clone(), numbers.clone()));
        self.reservation.try_resize(self.bytes)?;
        Ok(numbers)
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        // A dictionary has at most 2^31 texts; memory ends long before the numbers do.
        let number = self.texts.len() as u32;
        let text: Arc<str> = text.into();
        self.bytes +=
            text.len() + 2 * size_of::<usize>() + size_of::<(Arc<str>, u32)>() + size_of::<Arc<str>>();
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use datafusion::execution::memory_pool::{GreedyMemoryPool, UnboundedMemoryPool};

    use super::*;

    fn column(keys: Vec<Option<i32>>, texts: Vec<Option<&str>>) -> ArrayRef {
        let values = Arc::new(StringArray::from(texts));
        Arc::new(DictionaryArray::<Int32Type>::try_new(keys.into(), values).unwrap())
    }

    #[test]
    fn a_text_has_one_number_whatever_its_key_was() {
        let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
        let symbols = Symbols::new(&pool);
        let first = column(vec![Some(0), None, Some(1), Some(0)], vec![Some("a"), Some("b")]);
        let second = column(vec![Some(1), Some(0), Some(2), None], vec![Some("b"), Some("c"), None]);
        for _ in 0..2 {
            let numbers = symbols.numbers(&first).unwrap();
            assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some(0), None, Some(1), Some(0)]);
            let numbers = symbols.numbers(&second).unwrap();
            assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some(2), Some(1), None, None]);
        }
        let texts = symbols.texts(&UInt32Array::from(vec![Some(2), None, Some(0), Some(2)])).unwrap();
        let texts = texts.as_dictionary::<Int32Type>();
        assert_eq!(texts.values().len(), 2);
        let texts: Vec<_> = texts.downcast_dict::<StringArray>().unwrap().into_iter().collect();
        assert_eq!(texts, [Some("c"), None, Some("a"), Some("c")]);
    }

    #[test]
    fn texts_that_take_too_much_memory_are_an_error() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let symbols = Symbols::new(&pool);
        assert!(symbols.numbers(&column(vec![Some(0)], vec![Some("a")])).is_ok());
        assert!(symbols.numbers(&column(vec![Some(0)], vec![Some(&"b".repeat(100))])).is_err());
    }
}
