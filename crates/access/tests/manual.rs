//! The manual says what the program does: its table of roles is the program's own.

use cofferdam_access::explain;

const PAGE: &str = include_str!("../../../docs/manual/people-and-roles.md");

#[test]
fn the_manuals_table_of_roles_is_the_programs() {
    let (_, rest) = PAGE.split_once("<!-- permissions:begin -->\n").expect("the table's begin mark");
    let (table, _) = rest.split_once("<!-- permissions:end -->").expect("the table's end mark");
    assert_eq!(table, explain(), "put what explain() gives into docs/manual/people-and-roles.md");
}
