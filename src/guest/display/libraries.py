# SPDX-License-Identifier: Apache-2.0
# Libraries that show things, and what each needs so that it shows them here. A module of HOOKS is changed
# while it is imported (find_spec), in a zygote that preloads it or in a child.

BACKEND = "pyexec_matplotlib"


# ---- matplotlib ----

def figure_png(figure):
    """Draws a figure as Jupyter's inline backend does: cut to its content."""
    out = load("io").BytesIO()
    if figure.canvas is None or not hasattr(figure.canvas, "print_png"):
        load("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    figure.canvas.print_figure(out, format="png", bbox_inches="tight", facecolor=figure.get_facecolor(),
                               edgecolor=figure.get_edgecolor(), dpi=figure.dpi)
    return out.getvalue()


def figure_forms(figure, data, metadata):
    # A figure without axes or other content shows nothing.
    if figure.axes or figure.lines or figure.texts or figure.patches or figure.images:
        data["image/png"] = figure._pyexec_shown = figure_png(figure)


def show_managers(managers):
    """Shows figures, except those that display() has already shown and that have not changed since."""
    for manager in managers:
        figure = manager.canvas.figure
        before = getattr(figure, "_pyexec_shown", None)
        data, metadata = {}, {}
        attempt("drawing a figure", figure_forms, figure, data, metadata)
        if data and data["image/png"] != before:
            data["text/plain"] = repr(figure)
            publish(data, metadata, False)


def show_figures():
    """Shows the open figures and closes them."""
    pylab = loaded("matplotlib._pylab_helpers")
    if pylab is None:
        return
    ours = [manager for manager in pylab.Gcf.get_all_fig_managers()
            if getattr(manager, "pyexec_backend", False)]
    try:
        show_managers(ours)
    finally:
        for manager in ours:
            pylab.Gcf.destroy(manager)


def fill_backend(module):
    """Fills the backend that MPLBACKEND names: Agg, and figures become displays."""
    bases = load("matplotlib.backend_bases")
    agg = load("matplotlib.backends.backend_agg")
    figure_module = load("matplotlib.figure")

    class FigureManager(bases.FigureManagerBase):
        pyexec_backend = True

        def show(self):
            show_managers([self])

        @classmethod
        def pyplot_show(cls, *args, **kwargs):
            show_figures()

    class FigureCanvas(agg.FigureCanvasAgg):
        manager_class = FigureManager

    def new_figure_manager_given_figure(num, figure):
        return FigureManager(FigureCanvas(figure), num)

    def new_figure_manager(num, *args, FigureClass=figure_module.Figure, **kwargs):
        return new_figure_manager_given_figure(num, FigureClass(*args, **kwargs))

    def show(*args, **kwargs):
        show_figures()

    for thing in (FigureManager, FigureCanvas, new_figure_manager_given_figure, new_figure_manager, show):
        setattr(module, thing.__name__, thing)
        thing.__module__ = BACKEND
    watch_figures()


def is_figure(obj):
    figure_module = loaded("matplotlib.figure")
    return figure_module is not None and isinstance(obj, figure_module.Figure)


class Nothing:
    """A lock that never waits and locks nothing."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


class Unwritten:
    """In force while matplotlib looks for fonts. Its list of fonts is not written to a file, and fc-list
    is not called, because no run can read the system's fonts."""

    def __init__(self, module):
        self.module = module
        self.logger = load("logging").getLogger(module.__name__)
        self.cbook = load("matplotlib.cbook")
        self.environ = load("os").environ

    def __enter__(self):
        io = load("io")
        # A global name of the module is found before the builtin of that name.
        self.module.open = lambda path, mode="r", *rest, **more: (
            io.StringIO() if "w" in mode else io.open(path, mode, *rest, **more))
        self.lock = getattr(self.cbook, "_lock_path", None)
        self.cbook._lock_path = lambda path: Nothing()
        self.disabled, self.logger.disabled = self.logger.disabled, True
        self.path = self.environ.get("PATH")
        self.environ["PATH"] = ""

    def __exit__(self, *error):
        del self.module.open
        self.cbook._lock_path = self.lock
        self.logger.disabled = self.disabled
        del self.environ["PATH"]
        if self.path is not None:
            self.environ["PATH"] = self.path


class Once:
    """A filter of log records that passes each message once."""

    def __init__(self):
        self.seen = set()

    def filter(self, record):
        message = record.getMessage()
        new = message not in self.seen
        self.seen.add(message)
        return new


def import_font_manager(module, run):
    """Keeps only the fonts that matplotlib has itself: the system's fonts are not in the sandbox. A
    missing font is reported once, and not for each text of each figure."""
    load("logging").getLogger(module.__name__).addFilter(Once())
    if keeps_files():
        return run(module)
    with Unwritten(module):
        run(module)
    manager = module.fontManager
    own = load("os").path.dirname(module.__file__)
    for name in ("ttflist", "afmlist"):
        setattr(manager, name, [font for font in getattr(manager, name) if font.fname.startswith(own)])


def keeps_files():
    """True if the caller gave matplotlib a folder for its files."""
    return "MPLCONFIGDIR" in load("os").environ


def import_matplotlib(module, run):
    """Imports matplotlib so that it needs no home or temporary folder: there may be none, and a cache
    would appear as a file of the run."""
    if keeps_files():
        return run(module)
    os = load("os")
    folder = os.path.join(os.path.dirname(module.__spec__.origin), "mpl-data")
    own = "MATPLOTLIBRC" not in os.environ and os.path.exists(os.path.join(folder, "matplotlibrc"))
    if own:
        os.environ["MATPLOTLIBRC"] = folder
    try:
        run(module)
    finally:
        if own:
            del os.environ["MATPLOTLIBRC"]
    nowhere = os.path.join(folder, "none")
    module.get_configdir = module.get_cachedir = lambda: nowhere


# ---- plotly ----

class Shown:
    """Stands for IPython.display and nbformat, with the parts that plotly uses."""
    __version__ = "5.0.0"

    @staticmethod
    def display(bundle, raw=True):
        publish(bundle, None, False)

    @staticmethod
    def display_html(html, raw=True):
        publish({"text/html": html}, None, False)


def import_plotly(module, run):
    environ = load("os").environ
    if "PLOTLY_RENDERER" in environ:
        return run(module)
    environ["PLOTLY_RENDERER"] = "plotly_mimetype"
    try:
        run(module)
    finally:
        del environ["PLOTLY_RENDERER"]
    real = module.show

    def show(fig, renderer=None, *args, **kwargs):
        if renderer is None and hasattr(fig, "_repr_mimebundle_"):
            display(fig)
        else:
            real(fig, renderer, *args, **kwargs)
    module.ipython_display = module.nbformat = Shown
    module.show = show


def is_plotly_figure(obj):
    """True for a figure that uses plotly's own _repr_html_. A class of the script may have its own."""
    kind = getattr(loaded("plotly.basedatatypes"), "BaseFigure", None)
    own = getattr(kind, "_repr_html_", None)
    return own is not None and isinstance(obj, kind) and type(obj)._repr_html_ is own


def plotly_forms(figure, data, metadata):
    """Makes the same HTML as _repr_html_, but without the hash of plotly.js: to compute it plotly reads
    megabytes for each figure."""
    version = load("plotly.offline").get_plotlyjs_version()
    data["text/html"] = figure.to_html(full_html=False, include_plotlyjs="https://cdn.plot.ly/plotly-%s.min.js" % version)


# ---- altair ----

def import_altair(module, run):
    """Gives charts both forms: the specification, and a page that draws it."""
    run(module)

    def render(spec, **metadata):
        bundle = {}
        for name in ("mimetype", "html"):
            with module.renderers.enable(name):
                bundle.update(split_metadata(module.renderers.get()(spec, **metadata))[0])
        bundle.pop("text/plain", None)
        return bundle

    module.renderers.register("pyexec", render)
    module.renderers.enable("pyexec")
    for kind in module.Chart.__mro__:
        if "show" in vars(kind):
            kind.show = lambda self, *args, **kwargs: display(self)
            break


# ---- Pillow, and IPython where it is installed ----

def import_image_show(module, run):
    run(module)

    class Viewer(module.Viewer):
        def show(self, image, **options):
            display(image)
            return True
    module.register(Viewer(), 0)


def import_ipython_display(module, run):
    run(module)
    module.display = display


# ---- numba ----

def import_numba_caching(module, run):
    """Functions of a cell are compiled each time: numba keeps machine code beside the function's file, and
    a cell has no file."""
    run(module)
    real, nothing = module.FunctionCache, module.NullCache

    class FunctionCache(real):
        def __new__(cls, function):
            if function.__code__.co_filename.startswith("<cell"):
                return nothing()
            return real.__new__(cls)
    module.FunctionCache = FunctionCache


# The function that imports each module. src/guest/display/display.c has the same names: a child that has not
# loaded this file checks there.
HOOKS = {
    "matplotlib": import_matplotlib,
    "matplotlib.font_manager": import_font_manager,
    "plotly.io._renderers": import_plotly,
    "altair": import_altair,
    "PIL.ImageShow": import_image_show,
    "IPython.core.display_functions": import_ipython_display,
    "numba.core.caching": import_numba_caching,
}
FORMATTERS = ((is_figure, figure_forms), (is_plotly_figure, plotly_forms))


# ---- IPython.display where IPython is not installed ----

class Data:
    """An object of IPython.display with one form. Its data is given, or read from a file of the run."""
    mime = "text/plain"
    mode = "r"

    def __init__(self, data=None, filename=None, url=None, metadata=None, **ignored):
        if data is None and filename is not None:
            with load("io").open(filename, self.mode) as file:
                data = file.read()
        if data is None:
            raise ValueError("%s needs data or filename; nothing is loaded from a url" % type(self).__name__)
        self.data, self.metadata = data, metadata

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {self.mime: self.data}, {self.mime: self.metadata} if self.metadata else {}


class Image(Data):
    mode = "rb"

    def __init__(self, data=None, filename=None, url=None, format=None, **more):
        if isinstance(data, str):
            data, filename = None, data
        super().__init__(data, filename, **more)
        self.mime = "image/jpeg" if bytes(self.data[:2]) == b"\xff\xd8" else "image/gif" if bytes(self.data[:3]) == b"GIF" else "image/png"


def clear_output(wait=False):
    """Does nothing: what was shown stays, because the result comes when the run ends."""


DATA_FORMS = {"HTML": "text/html", "Markdown": "text/markdown", "SVG": "image/svg+xml", "Latex": "text/latex", "Math": "text/latex",
              "JSON": "application/json", "Javascript": "application/javascript", "Pretty": "text/plain"}


class IPythonLoader:
    """Makes the packages IPython and IPython.display."""

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        if module.__name__ == "IPython":
            module.get_ipython = lambda: None
            return
        kinds = {name: type(name, (Data,), {"mime": mime}) for name, mime in DATA_FORMS.items()}
        kinds["Math"]._repr_mimebundle_ = lambda self, **which: {"text/latex": "$\\displaystyle %s$" % self.data.strip("$")}
        vars(module).update(kinds, Image=Image, display=display, clear_output=clear_output)
        for kind in (*kinds.values(), Image):
            kind.__module__ = module.__name__


STAND_INS = ("IPython", "IPython.display")


class BackendLoader:
    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        fill_backend(module)


def find_spec(name, path, finders):
    """Returns the spec that the other finders give for the module. Its loader calls the module's hook."""
    if name == BACKEND:
        return load("_frozen_importlib").ModuleSpec(name, BackendLoader)
    spec = None
    for finder in finders:
        find = getattr(finder, "find_spec", None)
        spec = find(name, path, None) if find else None
        if spec is not None:
            break
    if name in STAND_INS:
        return spec or load("_frozen_importlib").ModuleSpec(name, IPythonLoader, is_package=name == "IPython")
    loader = getattr(spec, "loader", None)
    real = getattr(loader, "exec_module", None)
    if real is None:
        return spec

    def exec_module(module):
        del loader.exec_module
        HOOKS[name](module, real)
    loader.exec_module = exec_module
    return spec


def preloaded():
    """Called in the zygote: draws a figure once, so that no run pays for what a first figure needs."""
    if loaded("matplotlib.pyplot") is None:
        return
    pyplot = loaded("matplotlib.pyplot")
    figure, axes = pyplot.subplots()
    axes.plot([0, 1], [0, 1], label="a")
    axes.set_title("a")
    axes.legend()
    figure_png(figure)
    pyplot.close("all")
    del figure, axes
    # Fonts keep their files open, and a child has none of the zygote's descriptors.
    getattr(loaded("matplotlib.font_manager"), "_get_font").cache_clear()
    load("gc").collect()
