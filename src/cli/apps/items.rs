//! The items of `GET /json/{count}`.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

/// Most bytes of a file with items: each core keeps its own copy.
const LONGEST: u64 = 16 << 20;

/// One item of a dataset, in the shape of `HttpArena`'s `dataset.json`. `scripts/generate-items.py` writes our own
/// `items.json` in the same shape.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Item {
    id: u32,
    name: String,
    category: String,
    price: i64,
    quantity: i64,
    active: bool,
    tags: Vec<String>,
    rating: Rating,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Rating {
    score: u32,
    count: u32,
}

impl Item {
    /// The items that are compiled in.
    pub(super) fn built_in() -> Vec<Self> {
        serde_json::from_str(include_str!("items.json")).expect("a test reads this very file")
    }

    /// The items of a file. An error names the file, and line and column.
    pub(super) fn read(path: &Path) -> Result<Vec<Self>, String> {
        let cannot =
            |error: &dyn fmt::Display| format!("the dataset `{}` cannot be used: {error}", path.display());
        let mut text = Vec::new();
        let file = File::open(path).map_err(|error| cannot(&error))?;
        file.take(LONGEST + 1).read_to_end(&mut text).map_err(|error| cannot(&error))?;
        if text.len() as u64 > LONGEST {
            return Err(cannot(&format!("it has more than {LONGEST} bytes")));
        }
        // serde_json ends its messages with line and column.
        let items: Vec<Self> = serde_json::from_slice(&text).map_err(|error| cannot(&error))?;
        if items.is_empty() { Err(cannot(&"its list is empty")) } else { Ok(items) }
    }

    fn total(&self, factor: i64) -> Option<i64> {
        self.price.checked_mul(self.quantity)?.checked_mul(factor)
    }
}

/// The first items, with their totals.
#[derive(Debug)]
pub(super) struct Page {
    items: Rc<[Item]>,
    count: usize,
    factor: i64,
}

impl Page {
    /// The first `count` items, or all if there are fewer. `None` if a total does not fit 64 bits.
    pub(super) fn new(items: &Rc<[Item]>, count: usize, factor: i64) -> Option<Self> {
        let count = count.min(items.len());
        let fits = items[..count].iter().all(|item| item.total(factor).is_some());
        fits.then(|| Self { items: Rc::clone(items), count, factor })
    }
}

impl Serialize for Page {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut page = serializer.serialize_struct("Page", 2)?;
        page.serialize_field("items", &Priced(self))?;
        page.serialize_field("count", &self.count)?;
        page.end()
    }
}

/// The list of a page. Each item is made when it is written.
struct Priced<'a>(&'a Page);

impl Serialize for Priced<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct PricedItem<'a> {
            id: u32,
            name: &'a str,
            category: &'a str,
            price: i64,
            quantity: i64,
            active: bool,
            tags: &'a [String],
            rating: &'a Rating,
            total: i64,
        }
        let Page { items, count, factor } = self.0;
        serializer.collect_seq(items[..*count].iter().map(|item| PricedItem {
            id: item.id,
            name: &item.name,
            category: &item.category,
            price: item.price,
            quantity: item.quantity,
            active: item.active,
            tags: &item.tags,
            rating: &item.rating,
            // `Page::new` has seen that every total fits.
            total: item.total(*factor).unwrap_or_default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_fifty_items_in_order() {
        let items = Item::built_in();
        assert_eq!(items.len(), 50);
        assert!(items.iter().zip(1..).all(|(item, id)| item.id == id));
        assert!(items.iter().all(|item| !item.name.is_empty() && !item.tags.is_empty() && item.price > 0));
    }

    #[test]
    fn a_page_is_written_as_httparena_has_it() {
        let items: Rc<[Item]> = Item::built_in().into();
        let page = Page::new(&items, 1, 2).expect("a small total");
        let item = &items[0];
        let rating = serde_json::to_string(&item.rating).expect("plain data");
        let tags = serde_json::to_string(&item.tags).expect("plain data");
        let expected = format!(
            r#"{{"items":[{{"id":1,"name":"{}","category":"{}","price":{},"quantity":{},"active":{},"tags":{tags},"rating":{rating},"total":{}}}],"count":1}}"#,
            item.name,
            item.category,
            item.price,
            item.quantity,
            item.active,
            item.price * item.quantity * 2
        );
        assert_eq!(serde_json::to_string(&page).expect("plain data"), expected);
    }

    #[test]
    fn a_total_that_does_not_fit_makes_no_page() {
        let items: Rc<[Item]> = Item::built_in().into();
        assert!(Page::new(&items, 1, i64::MAX).is_none());
        assert!(Page::new(&items, 0, i64::MAX).is_some());
    }
}
