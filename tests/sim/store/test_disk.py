"""What a failed writer leaves."""

import threading

from sim.store.disk import discard


def test_a_folder_goes_though_threads_still_put_files_there(tmp_path):
    folder, started = tmp_path / "part", threading.Event()

    def late() -> None:
        for k in range(200):
            (folder / str(k)).mkdir(parents=True, exist_ok=True)
            started.set()

    thread = threading.Thread(target=late)
    thread.start()
    started.wait()
    discard(folder)
    thread.join()
    discard(folder)  # of what came after the last look, if the thread slept so long
    assert not folder.exists()


def test_what_is_not_there_needs_no_removing(tmp_path):
    discard(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []
