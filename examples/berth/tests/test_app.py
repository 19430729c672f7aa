"""Run with `PYTHONPATH=out/site python3 -m unittest` from the project's folder."""

import unittest

from app import OUT, create_app
from logbook import line


class Harbour(unittest.TestCase):
    def setUp(self):
        self.client = create_app().test_client()

    def book(self, berth, ship):
        return self.client.post("/book", data={"berth": berth, "ship": ship})

    def test_a_ship_gets_the_free_berth_and_the_next_one_does_not(self):
        self.assertEqual(self.book("A1", "Meltemi").status_code, 302)
        second = self.book("A1", "Sirocco")
        self.assertEqual(second.status_code, 409)
        self.assertIn("Meltemi", second.text)

    def test_a_ship_name_is_shown_as_text_and_not_as_markup(self):
        self.book("B2", "<b>Bora</b>")
        page = self.client.get("/").text
        self.assertIn("&lt;b&gt;Bora&lt;/b&gt;", page)

    def test_the_logbook_says_who_has_made_fast(self):
        self.assertEqual(line("A1", "Meltemi"), "A1: Meltemi made fast")

    def test_a_berth_that_is_not_there_is_refused(self):
        self.assertEqual(self.book("Z9", "Mistral").status_code, 400)

    @unittest.skipUnless((OUT / "bin" / "tide").exists(), "the tide program was not built")
    def test_the_water_stands_half_way_after_three_hours(self):
        answer = self.client.get("/tide?low=0.4&high=3.2&hours=3")
        self.assertEqual(answer.json, {"height": "1.80 m"})
        self.assertEqual(self.client.get("/tide?low=x&high=1&hours=1").status_code, 400)

    @unittest.skipUnless((OUT / "dist" / "rules.html").exists(), "the pages were not built")
    def test_the_rules_are_a_page(self):
        answer = self.client.get("/pages/rules.html")
        self.assertIn("<h1>Harbour rules</h1>", answer.text)
        answer.close()


if __name__ == "__main__":
    unittest.main()
