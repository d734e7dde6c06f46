//! The items of `GET /json/{count}`.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use std::rc::Rc;

/// One of the goods in `items.json`, which `scripts/generate-items.py` writes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Item {
    id: u32,
    name: String,
    category: String,
    price: i64,
    quantity: i64,
    active: bool,
    tags: Vec<String>,
    rating: Rating,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Rating {
    score: u32,
    count: u32,
}

impl Item {
    /// All of them, read from the file that is compiled in.
    pub(super) fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("items.json")).expect("a test reads this very file")
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
    /// The first `count` items or all there are; nothing if a total does not fit.
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

/// The list of a page, each item made as it is written.
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
        let items = Item::all();
        assert_eq!(items.len(), 50);
        assert!(items.iter().zip(1..).all(|(item, id)| item.id == id));
        assert!(items.iter().all(|item| !item.name.is_empty() && !item.tags.is_empty() && item.price > 0));
    }

    #[test]
    fn a_page_is_written_as_httparena_has_it() {
        let items: Rc<[Item]> = Item::all().into();
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
        let items: Rc<[Item]> = Item::all().into();
        assert!(Page::new(&items, 1, i64::MAX).is_none());
        assert!(Page::new(&items, 0, i64::MAX).is_some());
    }
}
