#!/usr/bin/python3
"""The windows as a person meets them: an empty library, a list, a machine that cannot start, one that runs.

time-limit: 240
"""

import os
import signal
import sys

import cases
from cases import check, is_alive, make_bundle, runner, wait_state
from desktop import BUILD, wait_for


# --- The library


def test_an_empty_library_invites(desktop):
    desktop.start()
    desktop.find("push button", "Try the demo guest")
    desktop.find_text("Welcome to Espalier")
    desktop.find_text("This computer:")
    check(not desktop.bundles(), "looking at the library created a machine")
    nameless = [node for node in desktop.unnamed_buttons() if desktop.pyatspi.STATE_VISIBLE in
                node.getState().getStates()]
    check(not nameless, f"{len(nameless)} buttons have no accessible name")
    desktop.save_picture(os.path.join(BUILD, "ui", "library-empty.png"), desktop.window_id("^Espalier$"))


def test_a_missing_demo_is_explained(desktop):
    desktop.start(env={"ESPALIER_DEMO_DIR": "/nowhere/demo"})
    desktop.press(desktop.find("push button", "Try the demo guest"))
    desktop.find_text("The demo guest cannot be started")
    desktop.find_text("/nowhere/demo")
    check(not desktop.bundles(), "a machine was created all the same")


def test_the_list_follows_the_folder(desktop):
    make_bundle(desktop, "Apple tree", CPUCount=3, MemorySize=768)
    desktop.start()
    desktop.find_text("Apple tree")
    desktop.find_text("3 CPUs")
    make_bundle(desktop, "Pear tree", Version=99)
    desktop.find_text("Pear tree", 5)
    desktop.find_text("newer Espalier", 5)
    os.rename(desktop.bundles()[1], os.path.join(desktop.home, "elsewhere"))
    desktop.gone("label", "Pear tree", 5)
    os.rename(desktop.bundles()[0], os.path.join(desktop.home, "elsewhere too"))
    desktop.find("push button", "Try the demo guest", 5)


def test_a_second_start_shows_the_same_library(desktop):
    desktop.start()
    desktop.find("push button", "Try the demo guest")
    second = desktop.start()
    check(second.wait(10) == 0, "the second start did not hand over to the first")
    check(len(desktop.look("frame", "Espalier")) == 1, "there are two library windows")


# --- A machine that cannot start


def test_a_broken_kernel_is_named(desktop):
    kernel = os.path.join(desktop.home, "not-a-kernel")
    with open(kernel, "w", encoding="ascii") as file:
        file.write("certainly not a kernel\n" * 1000)
    folder = make_bundle(desktop, "Broken", CPUCount=1000, BootLoader={"Type": "Linux", "Kernel": kernel})
    desktop.start()
    desktop.press(desktop.find("push button", "Start “Broken”"))
    desktop.find_text("“Broken” cannot start")
    desktop.find_text("not-a-kernel")
    desktop.find_text("cpus")  # all that is wrong, not only the first
    desktop.save_picture(os.path.join(BUILD, "ui", "cannot-start.png"), desktop.window_id("^Broken"))
    check(runner(folder)[1] == "in error", f"the lock file says {runner(folder)}")
    for name in ("Pause", "Stop", "Send Key", "Screenshot"):
        for node in desktop.look("push button", name) + desktop.look("toggle button", name):
            check(not desktop.is_sensitive(node), f"“{name}” can be pressed without a guest")

    desktop.press(desktop.find("push button", "Copy Details"))
    text = desktop.clipboard()
    check(kernel in text and "Machine: Broken" in text, f"the clipboard has: {text[:200]!r}")

    desktop.press(desktop.find("push button", "Try Again"))
    desktop.find_text("“Broken” cannot start")


def test_a_broken_configuration_is_named(desktop):
    folder = make_bundle(desktop, "Odd", Devices=[{"Type": "FluxCapacitor"}])
    desktop.start("--run", folder)
    desktop.find_text("“Odd” cannot start")
    desktop.find_text("FluxCapacitor")


def test_a_folder_that_is_not_there_is_named(desktop):
    desktop.start("--run", os.path.join(desktop.home, "nothing.espalier"))
    desktop.find_text("“nothing” cannot start")
    desktop.find_text("there is no folder of that name")


def test_wrong_arguments_end_with_status_2(desktop):
    for arguments in (["--no-such-option"], ["--run", "a", "--demo"], ["a", "b"]):
        process = desktop.start(*arguments)
        check(process.wait(10) == 2, f"{arguments} ended with {process.returncode}")


# --- A machine that runs


def test_pause_resume_and_force_off(desktop):
    folder = make_bundle(desktop, "Plum")
    desktop.start()
    desktop.press(desktop.find("push button", "Start “Plum”"))
    wait_state(folder, "running")
    desktop.find_text("Running", 5)

    desktop.press(desktop.find("toggle button", "Pause"))
    wait_state(folder, "paused")
    veil = desktop.find("push button", "Resume")
    check(not desktop.is_sensitive(desktop.find("toggle button", "Send Key")), "keys can be sent to a paused guest")
    desktop.save_picture(os.path.join(BUILD, "ui", "paused.png"), desktop.window_id("^Plum"))
    desktop.press(veil)
    wait_state(folder, "running")

    desktop.press(desktop.find("toggle button", "Stop"))
    desktop.press(desktop.find("push button", lambda name: name.startswith("Force Off")))
    desktop.find_text("Force “Plum” off?")
    desktop.press(desktop.find("push button", "Cancel"))
    check(runner(folder)[1] == "running", "“Cancel” did not cancel")
    desktop.press(desktop.find("toggle button", "Stop"))
    desktop.press(desktop.find("push button", lambda name: name.startswith("Force Off")))
    desktop.find_text("Force “Plum” off?")
    desktop.press(desktop.find("push button", "Force Off"))
    wait_state(folder, "stopped")
    desktop.find_text("“Plum” is off")
    desktop.save_picture(os.path.join(BUILD, "ui", "off.png"), desktop.window_id("^Plum"))

    desktop.press([node for node in desktop.look("push button", "Start") if desktop.is_sensitive(node)][0])
    wait_state(folder, "running")


def test_a_closed_window_does_not_stop_the_machine(desktop):
    folder = make_bundle(desktop, "Quince")
    desktop.start()
    desktop.press(desktop.find("push button", "Start “Quince”"))
    wait_state(folder, "running")
    pid = runner(folder)[0]
    window = desktop.window_id("^Quince — Running")
    desktop.close(window)
    wait_for("end of the window", lambda: window not in desktop.windows("Quince"))
    check(is_alive(pid) and runner(folder) == (pid, "running"), "closing the window stopped the machine")

    desktop.press(desktop.find("push button", "Show “Quince”"))
    desktop.window_id("^Quince — Running")
    check(runner(folder)[0] == pid, "showing it again started another process")

    # A process that dies badly is noticed, and nothing is left that keeps the machine from starting.
    os.kill(pid, signal.SIGKILL)
    desktop.press(desktop.find("push button", "Start Again"))
    wait_for("another process", lambda: runner(folder)[0] not in (0, pid))
    wait_state(folder, "running")
    again = runner(folder)[0]
    os.kill(again, signal.SIGTERM)
    wait_for("orderly end after SIGTERM", lambda: not is_alive(again))
    desktop.find("push button", "Start “Quince”", 5)


def test_the_keyboard_is_grabbed_and_released(desktop):
    folder = make_bundle(desktop, "Cherry")
    desktop.start("--run", folder)
    wait_state(folder, "running")
    window = desktop.window_id("^Cherry — Running")
    desktop.click(desktop.find("canvas", "Screen of “Cherry”"))
    wait_for("word on how to release the keyboard", lambda: "Ctrl+Alt" in desktop.window_title(window))
    desktop.save_picture(os.path.join(BUILD, "ui", "grabbed.png"), window)
    desktop.key("F11")  # the guest's
    desktop.key("ctrl+alt")
    wait_for("title after release", lambda: "Running" in desktop.window_title(window))
    check(desktop.picture(window).get_width() < 1200, "F11 went to the window while the guest had the keyboard")

    if desktop.manages_windows():
        width = desktop.picture(window).get_width()
        desktop.key("F11")
        wait_for("full screen", lambda: desktop.picture(window).get_width() > width)
        desktop.pointer(640, 300)
        desktop.pointer(640, 0)  # the upper edge brings the bar
        desktop.find("toggle button", "Leave Full Screen")
        desktop.pointer(640, 20)  # and on it it stays
        leave = desktop.find("toggle button", "Leave Full Screen")
        desktop.save_picture(os.path.join(BUILD, "ui", "full-screen.png"), window)
        desktop.press(leave)
        wait_for("window again", lambda: desktop.picture(window).get_width() == width)


def test_a_picture_is_taken(desktop):
    folder = make_bundle(desktop, "Medlar")
    desktop.start("--run", folder)
    wait_state(folder, "running")
    button = desktop.find("push button", "Screenshot")
    wait_for("picture to take", lambda: desktop.is_sensitive(button))
    desktop.press(button)
    desktop.find_text("The picture is saved as")
    pictures = [name for name in os.listdir(desktop.home) if name.startswith("Medlar from") and name.endswith(".png")]
    check(len(pictures) == 1, f"in the home folder: {os.listdir(desktop.home)}")
    picture = desktop.GdkPixbuf.Pixbuf.new_from_file(os.path.join(desktop.home, pictures[0]))
    check((picture.get_width(), picture.get_height()) == (800, 600),
          f"it is {picture.get_width()} x {picture.get_height()}")


if __name__ == "__main__":
    sys.exit(cases.main(globals()))
