"""The pipe to tests/tools/TextServer.cpp."""
import json
import subprocess
import threading


class Server:
    """One process; requests and answers are lines of JSON."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask_all(self, requests):
        """One answer for each."""
        data = b"".join(json.dumps(request).encode() + b"\n" for request in requests)

        def write():
            self.process.stdin.write(data)
            self.process.stdin.flush()

        # Beside the reading, for neither pipe holds all.
        writer = threading.Thread(target=write)
        writer.start()
        answers = []
        for request in requests:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"the program ended: {self.process.wait()}, at {request}")
            answers.append(json.loads(line))
        writer.join()
        return answers

    def ask(self, **request):
        answer = self.ask_all([request])[0]
        if "error" in answer:
            raise AssertionError(f"{answer} for {str(request)[:200]}")
        return answer
