"""A model that is loaded once in each worker; each set of parameters has workers of its own."""

import os

import nbfn as modal

app = modal.App("guide-parametrised-class")


@app.cls(scaledown_window=300, max_containers=2)
class Translator:
    language: str = modal.parameter()
    loud: bool = modal.parameter(default=False)

    @modal.enter()
    def load(self):
        self.loads = 1
        self.words = {"de": {"cat": "Katze"}, "fr": {"cat": "chat"}}[self.language]

    def styled(self, word):
        return word.upper() if self.loud else word

    @modal.method()
    def translate(self, word):
        return self.styled(self.words[word])

    @modal.method()
    def about(self):
        return {"pid": os.getpid(), "loads": self.loads}

    @modal.exit()
    def close(self):
        print("closing", self.language)


@app.local_entrypoint()
def main():
    german, french = Translator(language="de"), Translator(language="fr", loud=True)
    print("de:", german.translate.remote("cat"))
    print("fr:", french.translate.remote("cat"))
    print("many:", list(german.translate.map(["cat", "cat"])))
    print("here:", Translator(language="de").translate.local("cat"))
    print("loaded once:", german.about.remote()["loads"] == 1)
    print("apart:", german.about.remote()["pid"] != french.about.remote()["pid"])
