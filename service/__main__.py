"""`python -m service` is `lever`."""

from service.cli.main import main

if __name__ == "__main__":
    main()
