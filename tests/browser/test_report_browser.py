"""The report in a real browser: sorting, the slider, narrow and dark screens, silence on the network."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="no Chromium with chromedriver; on Debian: apt-get install chromium chromium-driver",
)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
    ),
)
Reports = Callable[[bool], Path]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # The driver listens on this machine only; a proxy must not be asked for it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "NO_PROXY", ",".join(filter(None, [os.environ.get("NO_PROXY"), "localhost", "127.0.0.1"]))
        )
        chrome = webdriver.Chrome(options=options, service=Service(DRIVER))
        yield chrome
        chrome.quit()


@pytest.fixture
def page(driver: webdriver.Chrome, reports: Reports) -> webdriver.Chrome:
    """The report with pairs on a desktop screen, freshly loaded, its logs empty."""
    return load(driver, reports(True))


def load(driver: webdriver.Chrome, path: Path, *, width: int = 1440, dark: bool = False) -> webdriver.Chrome:
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    # Smooth scrolling would still run when the driver clicks.
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    for log in ("browser", "performance"):
        driver.get_log(log)
    driver.get(path.as_uri())
    return driver


def element(page: webdriver.Chrome, selector: str) -> WebElement:
    return page.find_element(By.CSS_SELECTOR, selector)


# Sorting


def column(page: webdriver.Chrome, place: int) -> list[str]:
    """The sort keys of a column of the results table, from the top."""
    rows = page.find_elements(By.CSS_SELECTOR, "table.results tbody tr")
    return [row.find_elements(By.CSS_SELECTOR, "th, td")[place].get_attribute("data-value") for row in rows]


def header(page: webdriver.Chrome, label: str) -> WebElement:
    headers = page.find_elements(By.CSS_SELECTOR, "table.results thead th")
    return next(found for found in headers if found.text.startswith(label))


def test_click_sorts_by_best_and_second_click_reverses(page: webdriver.Chrome) -> None:
    original = column(page, 0)
    header(page, "PSNR ↑").find_element(By.TAG_NAME, "button").click()
    values = list(map(float, column(page, 1)))
    assert values == sorted(values, reverse=True)
    assert column(page, 0) != original and sorted(column(page, 0)) == sorted(original)
    assert header(page, "PSNR ↑").get_attribute("aria-sort") == "descending"
    header(page, "PSNR ↑").find_element(By.TAG_NAME, "button").click()
    assert list(map(float, column(page, 1))) == values[::-1]
    assert header(page, "PSNR ↑").get_attribute("aria-sort") == "ascending"


def test_metric_that_should_be_low_sorts_upwards_first(page: webdriver.Chrome) -> None:
    header(page, "NIQE").find_element(By.TAG_NAME, "button").click()
    values = list(map(float, column(page, 6)))
    assert values == sorted(values)


def test_keyboard_sorts_names_and_only_one_column_says_so(page: webdriver.Chrome) -> None:
    header(page, "PSNR ↑").find_element(By.TAG_NAME, "button").click()
    header(page, "Method").find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert column(page, 0) == sorted(column(page, 0))
    assert len(page.find_elements(By.CSS_SELECTOR, "table.results [aria-sort]")) == 1


def test_cells_without_a_value_stay_last_in_both_directions(page: webdriver.Chrome) -> None:
    for _ in range(2):
        element(page, "table.results thead th.published button").click()
        values = column(page, 2)
        known = [value for value in values if value]
        assert len(known) == 3 and values[:3] == known


# Slider


def split(page: webdriver.Chrome) -> float:
    """Where the left picture is clipped, in percent of the width, as the browser computes it."""
    script = """const box = document.getElementById('viewer').getBoundingClientRect();
    const divider = document.getElementById('divider').getBoundingClientRect();
    return [getComputedStyle(document.getElementById('left-layer')).clipPath,
      (divider.left + divider.width / 2 - box.left) / box.width * 100]"""
    clip, divider = page.execute_script(script)
    cut = re.fullmatch(r"inset\(0px ([\d.]+)% 0px 0px\)|inset\(0px\)", clip)
    assert cut, clip
    assert 100 - float(cut[1] or 0) == pytest.approx(divider, abs=0.5), (
        "the line stands where the picture ends"
    )
    return divider


def picture(page: webdriver.Chrome, side: str) -> str:
    return element(page, f"#{side}-picture").get_attribute("src")


def test_drag_moves_the_clip(page: webdriver.Chrome) -> None:
    viewer = element(page, "#viewer")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", viewer)
    assert split(page) == pytest.approx(50, abs=0.5)
    width = viewer.size["width"]
    ActionChains(page).drag_and_drop_by_offset(element(page, "#divider"), width * 0.3, 0).perform()
    assert split(page) == pytest.approx(80, abs=1)
    ActionChains(page).move_to_element_with_offset(viewer, -width * 0.4, 20).click().perform()
    assert split(page) == pytest.approx(10, abs=1), "a click beside the line fetches it"
    ActionChains(page).drag_and_drop_by_offset(element(page, "#divider"), -width * 0.15, 0).perform()
    assert split(page) == pytest.approx(0, abs=0.5), "it stops at the border"


def test_touch_moves_the_clip(page: webdriver.Chrome) -> None:
    viewer = element(page, "#viewer")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", viewer)
    box = page.execute_script(
        "const b = arguments[0].getBoundingClientRect(); return [b.x, b.y, b.width, b.height]", viewer
    )
    point = {"y": box[1] + box[3] / 2}
    for kind, share in (("touchStart", 0.5), ("touchMove", 0.4), ("touchMove", 0.25)):
        touch = {**point, "x": box[0] + share * box[2]}
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [touch]})
    page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert split(page) == pytest.approx(25, abs=1)


def test_keys_move_the_clip_and_tell_assistive_software(page: webdriver.Chrome) -> None:
    divider = element(page, "#divider")
    for key, expected in (
        (Keys.ARROW_RIGHT, 52),
        (Keys.PAGE_UP, 62),
        (Keys.ARROW_LEFT, 60),
        (Keys.HOME, 0),
        (Keys.END, 100),
    ):
        divider.send_keys(key)
        assert split(page) == pytest.approx(expected, abs=0.5)
        assert divider.get_attribute("aria-valuenow") == str(expected)


def test_choices_change_the_pictures(page: webdriver.Chrome) -> None:
    assert Select(element(page, "#left")).first_selected_option.text == "input"
    assert Select(element(page, "#right")).first_selected_option.text == "ludvae+dncnn"
    left, right = picture(page, "left"), picture(page, "right")
    Select(element(page, "#right")).select_by_visible_text("nlm")
    assert picture(page, "left") == left and picture(page, "right") != right
    assert element(page, "#right-tag").text.startswith("nlm, ")
    other = picture(page, "right")
    element(page, "#swap").click()
    assert (picture(page, "left"), picture(page, "right")) == (other, left)
    Select(element(page, "#image")).select_by_visible_text("coffee")
    assert picture(page, "left") not in (left, right, other)
    assert Select(element(page, "#left")).first_selected_option.text == "nlm", "the methods stay chosen"
    assert "coffee" in element(page, "#picture-note").text
    assert page.execute_script("return document.getElementById('left-picture').naturalWidth") == 192


def test_enlarged_picture_can_be_moved_without_the_line(page: webdriver.Chrome) -> None:
    viewer = element(page, "#viewer")
    Select(element(page, "#zoom")).select_by_visible_text("4 times")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", viewer)

    def left_edge(side: str) -> float:
        return page.execute_script(
            f"return document.getElementById('{side}-picture').getBoundingClientRect().left"
        )

    before = left_edge("left")
    start = ActionChains(page).move_to_element_with_offset(viewer, 120, 60).click_and_hold()
    start.move_by_offset(-100, 0).release().perform()
    assert left_edge("left") == pytest.approx(before - 100, abs=2)
    assert left_edge("left") == left_edge("right")
    assert split(page) == pytest.approx(50, abs=0.5)


# Figures


def test_figures_open_at_full_size_and_close_by_key(page: webdriver.Chrome) -> None:
    button = element(page, ".enlarge")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    shown = element(page, "#large img")
    assert shown.is_displayed()
    assert shown.size["width"] == page.execute_script("return arguments[0].naturalWidth", shown)
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    assert not shown.is_displayed()


# The whole page


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("width", [390, 820, 1440])
def test_page_never_scrolls_sideways(
    driver: webdriver.Chrome, reports: Reports, paired: bool, width: int
) -> None:
    page = load(driver, reports(paired), width=width)
    page.execute_script("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    content, screen = page.execute_script(
        "const root = document.documentElement; return [root.scrollWidth, root.clientWidth]"
    )
    assert width - 20 <= screen <= width, "a scroll bar may take some of it"
    assert content == screen


def test_wide_tables_scroll_inside_their_box(driver: webdriver.Chrome, reports: Reports) -> None:
    page = load(driver, reports(True), width=390)
    inside, outside = page.execute_script(
        "const box = document.querySelector('.table .scroll'); return [box.scrollWidth, box.clientWidth]"
    )
    assert inside > outside


def contrast(page: webdriver.Chrome, selector: str) -> float:
    """WCAG contrast of an element's text with the page's background."""
    script = """const of = (e) => getComputedStyle(e);
    return [of(document.querySelector(arguments[0])).color, of(document.body).backgroundColor]"""
    luminances = []
    for color in page.execute_script(script, selector):
        channels = [float(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    high, low = max(luminances), min(luminances)
    return (high + 0.05) / (low + 0.05)


def test_dark_and_light_follow_the_system_and_are_readable(
    driver: webdriver.Chrome, reports: Reports
) -> None:
    backgrounds = []
    for dark in (False, True):
        page = load(driver, reports(True), dark=dark)
        backgrounds.append(page.execute_script("return getComputedStyle(document.body).backgroundColor"))
        for selector in ("h1", ".summary", ".guide", "nav a", "td small", ".rulegraph text"):
            assert contrast(page, selector) >= 4.5, (dark, selector)
    assert backgrounds[0] != backgrounds[1]


@pytest.mark.parametrize("paired", [True, False])
def test_console_and_network_stay_silent(driver: webdriver.Chrome, reports: Reports, paired: bool) -> None:
    page = load(driver, reports(paired))
    for selector in ("#swap", ".enlarge"):
        target = element(page, selector)
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", target)
        target.click()
    assert page.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert reports(paired).as_uri() in asked
    assert [address for address in asked if not address.startswith(("data:", "file:"))] == []


def test_buttons_and_choices_have_names(page: webdriver.Chrome) -> None:
    nodes = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    controls = [
        n
        for n in nodes
        if n.get("role", {}).get("value") in ("button", "combobox", "slider", "image", "img", "link")
    ]
    assert len(controls) >= 15
    assert [
        n["role"]["value"] for n in controls if not n.get("ignored") and not n.get("name", {}).get("value")
    ] == []


# Alpha


def test_alpha_moves_through_the_crops(page: webdriver.Chrome) -> None:
    value, picture = element(page, "#alpha-value"), element(page, "#alpha-moved")
    assert element(page, "#alpha-told").text == "0"
    natural = picture.get_attribute("src")
    for _ in range(2):
        value.send_keys(Keys.ARROW_RIGHT)
    assert element(page, "#alpha-told").text == "1"
    assert "the restorer alone" in element(page, "#alpha-moved-name").text
    assert picture.get_attribute("src") != natural
    assert picture.get_attribute("src") == element(page, "#alpha-restored").get_attribute("src")
    assert "PSNR 29.99 dB, SWD 9.00" in element(page, "#alpha-note").text
    assert value.get_attribute("aria-valuetext") == "alpha 1"
    ticks = page.find_elements(By.CSS_SELECTOR, "#alpha-ticks option")
    assert [tick.get_attribute("value") for tick in ticks] == ["1", "3"]


def test_another_image_keeps_alpha(page: webdriver.Chrome) -> None:
    element(page, "#alpha-value").send_keys(Keys.END)
    before = element(page, "#alpha-clean").get_attribute("src")
    Select(element(page, "#alpha-image")).select_by_visible_text("coffee")
    assert element(page, "#alpha-told").text == "1.5"
    assert element(page, "#alpha-clean").get_attribute("src") != before
