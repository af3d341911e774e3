# Asked: a small to-do list with a repository class, transactions, and its own tests.
import sqlite3
import unittest
from dataclasses import dataclass
from enum import Enum


class Status(str, Enum):
    OPEN = "open"
    DONE = "done"


@dataclass(frozen=True)
class Todo:
    id: int
    title: str
    status: Status


class TodoRepository:
    def __init__(self, path: str = ":memory:") -> None:
        self._db = sqlite3.connect(path)
        self._db.execute("CREATE TABLE IF NOT EXISTS todo (id INTEGER PRIMARY KEY, title TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'open')")

    def add(self, title: str) -> Todo:
        if not title.strip():
            raise ValueError("title must not be empty")
        with self._db:
            cursor = self._db.execute("INSERT INTO todo (title) VALUES (?)", (title,))
        return Todo(cursor.lastrowid, title, Status.OPEN)

    def finish(self, todo_id: int) -> None:
        with self._db:
            if self._db.execute("UPDATE todo SET status = 'done' WHERE id = ?", (todo_id,)).rowcount == 0:
                raise KeyError(todo_id)

    def all(self, status: Status | None = None) -> list[Todo]:
        rows = self._db.execute("SELECT id, title, status FROM todo WHERE ? IS NULL OR status = ?", (status, status))
        return [Todo(i, t, Status(s)) for i, t, s in rows]


class TestTodoRepository(unittest.TestCase):
    def setUp(self):
        self.repo = TodoRepository()

    def test_add_and_finish(self):
        todo = self.repo.add("write tests")
        self.repo.finish(todo.id)
        self.assertEqual(self.repo.all(Status.DONE), [Todo(1, "write tests", Status.DONE)])

    def test_missing(self):
        with self.assertRaises(KeyError):
            self.repo.finish(7)

    def test_empty_title(self):
        with self.assertRaisesRegex(ValueError, "empty"):
            self.repo.add("  ")


if __name__ == "__main__":
    unittest.main(argv=["first-arg-is-ignored"], exit=False, verbosity=2)
