"""Pages about runs, in the order of processing: reading (folders -> runs), rebuild (programs), a room for each part, document, html."""

from runtime.page.document import write_comparison_page, write_page
from runtime.page.errors import ReportError
from runtime.page.reading import page_path, read_runs

__all__ = ["ReportError", "page_path", "read_runs", "write_comparison_page", "write_page"]
